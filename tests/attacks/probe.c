/* The probe: makes system calls as they are asked for on its command line, and tells what each answered.
 *
 *   probe calls 'NAME ARGUMENT…' …      each call in a child of its own; prints `NAME ARGUMENT…: ERRNO`
 *   probe setid-openat2 FILE            openat2 with the mode 04755 in memory
 *   probe thread COMMAND…               executes a command from a thread that is not the first
 *   probe memfd FILE                    executes a copy of a program from a memfd
 *   probe descriptor-exec FILE          executes a program by descriptor
 *   probe ptrace PID                    attaches to a process
 *   probe race TRIES PROGRAM ONE OTHER  executes a program TRIES times with an argument that becomes ONE and OTHER in turn
 *   probe spawn TRIES COMMAND…          executes a command so often, from four threads at once and under a timer
 *   probe open-race TRIES ONE OTHER     opens for writing, so often, a path that becomes ONE and OTHER in turn
 *   probe connect-race TRIES PATH       connects and sends, so often, to an address that becomes PATH and one of its own in turn
 *   probe swap-race TRIES PATH          sends to PATH, so often, on a descriptor that is a stream and a datagram socket in turn
 *   probe share-race TRIES PATH         the same, where another process that shares the descriptors puts them there
 *   probe tcp-race TRIES PORT OTHER     connects, so often, to a port of 127.0.0.1 that becomes PORT and OTHER in turn, on a descriptor that is
 *                                       a TCP socket and one end of a pair in turn; whether OTHER was reached
 *   probe mkdirs TRIES DIRECTORY        makes so many directories there under a timer, each once
 *   probe signal-self                   dies of SIGSEGV
 *
 * An argument is a number, `@TEXT` (a pointer to the text), `&` (a pointer to a page of zeros). A name may follow
 * `!x32` (the call of the x32 table) or `!i386` (int 0x80). Descriptor 3 is `file` of the working directory, if
 * there is one. No call here can do harm where it succeeds: arguments are invalid, or the call bears on the child
 * alone.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct name { const char *name; long native; long i386; };

#define SAME(name, native, i386) { name, native, i386 }
static const struct name NAMES[] = {
    SAME("read", SYS_read, 3), SAME("getpid", SYS_getpid, 20), SAME("io_uring_setup", 425, 425),
    SAME("io_uring_enter", 426, 426), SAME("io_uring_register", 427, 427), SAME("bpf", SYS_bpf, 357),
    SAME("perf_event_open", SYS_perf_event_open, 336), SAME("userfaultfd", SYS_userfaultfd, 374),
    SAME("keyctl", SYS_keyctl, 288), SAME("add_key", SYS_add_key, 286), SAME("request_key", SYS_request_key, 287),
    SAME("kexec_load", SYS_kexec_load, 283), SAME("kexec_file_load", 320, -1),
    SAME("open_by_handle_at", SYS_open_by_handle_at, 342), SAME("mount", SYS_mount, 21),
    SAME("umount2", SYS_umount2, 52), SAME("pivot_root", SYS_pivot_root, 217), SAME("chroot", SYS_chroot, 61),
    SAME("open_tree", 428, 428), SAME("move_mount", 429, 429), SAME("fsopen", 430, 430),
    SAME("fsconfig", 431, 431), SAME("fsmount", 432, 432), SAME("fspick", 433, 433),
    SAME("mount_setattr", 442, 442), SAME("open_tree_attr", 467, 467), SAME("setns", SYS_setns, 346),
    SAME("unshare", SYS_unshare, 310), SAME("clone", SYS_clone, 120), SAME("clone3", 435, 435),
    SAME("ioctl", SYS_ioctl, 54), SAME("socket", SYS_socket, 359), SAME("socketpair", SYS_socketpair, 360),
    SAME("chmod", 90, 15), SAME("fchmod", SYS_fchmod, 94), SAME("fchmodat", SYS_fchmodat, 306),
    SAME("fchmodat2", 452, 452), SAME("mknod", 133, 14), SAME("mknodat", SYS_mknodat, 297),
    SAME("open", 2, 5), SAME("openat", SYS_openat, 295), SAME("openat2", 437, 437), SAME("creat", 85, 8),
    SAME("mkdir", 83, 39), SAME("mkdirat", SYS_mkdirat, 296), SAME("process_vm_readv", SYS_process_vm_readv, 347),
    SAME("process_vm_writev", SYS_process_vm_writev, 348), SAME("pidfd_getfd", 438, 438),
    SAME("pidfd_open", 434, 434), SAME("process_madvise", 440, 440), SAME("kcmp", SYS_kcmp, 349),
    SAME("fanotify_init", SYS_fanotify_init, 338), SAME("statmount", 457, 457), SAME("listmount", 458, 458),
    SAME("move_pages", SYS_move_pages, 317), SAME("migrate_pages", SYS_migrate_pages, 294),
    SAME("syslog", SYS_syslog, 103), SAME("quotactl", SYS_quotactl, 131), SAME("quotactl_fd", 443, 443),
    SAME("swapon", SYS_swapon, 87), SAME("swapoff", SYS_swapoff, 115), SAME("acct", SYS_acct, 51),
    SAME("reboot", SYS_reboot, 88), SAME("iopl", 172, 110), SAME("ioperm", 173, 101),
    SAME("init_module", SYS_init_module, 128), SAME("finit_module", SYS_finit_module, 350),
    SAME("delete_module", SYS_delete_module, 129), SAME("ptrace", SYS_ptrace, 26),
    SAME("settimeofday", SYS_settimeofday, 79), SAME("clock_settime", SYS_clock_settime, 264),
    SAME("sethostname", SYS_sethostname, 74), SAME("setdomainname", SYS_setdomainname, 121),
    SAME("vhangup", SYS_vhangup, 111), SAME("personality", SYS_personality, 136), SAME("prctl", SYS_prctl, 172),
    SAME("setuid", SYS_setuid, 213), SAME("kill", SYS_kill, 37), SAME("name_to_handle_at", SYS_name_to_handle_at, 341),
    SAME("landlock_create_ruleset", 444, 444), SAME("modify_ldt", 154, 123), SAME("lookup_dcookie", 212, 253),
    SAME("nfsservctl", 180, 169), SAME("set_mempolicy", SYS_set_mempolicy, 276),
    SAME("memfd_create", SYS_memfd_create, 356), SAME("listns", 470, 470), SAME("setxattr", SYS_setxattr, 226),
};

static const char *errno_name(int error) {
    return error == 0 ? "OK" : strerrorname_np(error) ? strerrorname_np(error) : "UNKNOWN";
}

static char zeros[4096];

static long argument(const char *text) {
    if (*text == '@') return (long)(text + 1);
    if (*text == '&') return (long)zeros;
    return (long)strtoull(text, NULL, 0);
}

static long by_number_32(long number, const long *a) {
    long answer;
    /* Pointers do not fit; the filter is to refuse before they are looked at. */
    __asm__ volatile("push %%rbp\n\tmov %7, %%rbp\n\tint $0x80\n\tpop %%rbp"
                     : "=a"(answer)
                     : "0"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4]), "r"(a[5])
                     : "memory", "r8", "r9", "r10", "r11");
    if ((int)answer < 0 && (int)answer > -4096) { errno = -(int)answer; return -1; }
    return answer;
}

/* Makes one call in this process and answers its errno, 0 if it succeeded. */
static int make(char *text) {
    char *words[8] = {0};
    int count = 0, x32 = 0, i386 = 0;
    for (char *word = strtok(text, " "); word && count < 8; word = strtok(NULL, " ")) {
        if (!strcmp(word, "!x32")) x32 = 1;
        else if (!strcmp(word, "!i386")) i386 = 1;
        else words[count++] = word;
    }
    long a[6] = {0}, native = -1, other = -1;
    for (int i = 1; i < count && i < 7; i++) a[i - 1] = argument(words[i]);
    if (words[0][0] >= '0' && words[0][0] <= '9') native = other = strtol(words[0], NULL, 0);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (!strcmp(NAMES[i].name, words[0])) { native = NAMES[i].native; other = NAMES[i].i386; }
    if (native < 0 || (i386 && other < 0)) { fprintf(stderr, "probe: no call `%s`\n", words[0]); _exit(255); }
    errno = 0;
    pid_t self = getpid();
    long answer = i386 ? by_number_32(other, a)
                       : syscall(x32 ? native | 0x40000000 : native, a[0], a[1], a[2], a[3], a[4], a[5]);
    int error = errno;
    if (getpid() != self) _exit(0); /* the new process of a clone that succeeded */
    return answer == -1 ? error : 0;
}

static int calls(int count, char **texts) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int file = open("file", O_RDWR);
    if (file >= 0 && file != 3) { dup2(file, 3); }
    for (int i = 0; i < count; i++) {
        printf("%s: ", texts[i]);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) _exit(make(texts[i]));
        int status = 0;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
        if (WIFSIGNALED(status)) printf("SIG%s\n", sigabbrev_np(WTERMSIG(status)));
        else printf("%s\n", WEXITSTATUS(status) == 255 ? "NOSUCHCALL" : errno_name(WEXITSTATUS(status)));
    }
    return 0;
}

static int setid_openat2(const char *file) {
    struct { uint64_t flags, mode, resolve; } how = { O_CREAT | O_WRONLY, 04755, 0 };
    if (syscall(437, AT_FDCWD, file, &how, sizeof how) >= 0) return 0;
    printf("%s\n", errno_name(errno));
    return 1;
}

static void *execute(void *words) {
    char **argv = words;
    execvp(argv[0], argv);
    printf("%s\n", errno_name(errno));
    exit(1);
}

static int thread(char **words) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, execute, words)) return 2;
    pthread_join(thread, NULL);
    return 2;
}

static int memfd(char **words) {
    int from = open(words[0], O_RDONLY), to = memfd_create("copy", MFD_CLOEXEC);
    if (to < 0) { printf("memfd_create %s\n", errno_name(errno)); return 1; }
    char buffer[65536];
    for (ssize_t n; (n = read(from, buffer, sizeof buffer)) > 0;)
        if (write(to, buffer, n) != n) return 2;
    fexecve(to, words, environ);
    printf("execveat %s\n", errno_name(errno));
    return 1;
}

static int descriptor_exec(char **words) {
    int from = open(words[0], O_RDONLY);
    if (from < 0) from = open(words[0], O_PATH);
    if (from < 0) { printf("open %s\n", errno_name(errno)); return 1; }
    syscall(SYS_execveat, from, "", words, environ, AT_EMPTY_PATH);
    printf("execveat %s\n", errno_name(errno));
    return 1;
}

/* The arguments lie in memory that another process goes on writing. */
static int race(char **words) {
    int tries = atoi(words[0]), ran = 0, refused = 0, killed = 0;
    size_t length = strlen(words[2]);
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || strlen(words[3]) != length) return 2;
    memcpy(shared, words[2], length + 1);
    pid_t writer = fork();
    if (writer == 0)
        for (unsigned turn = 0;; turn++) {
            memcpy(shared, words[2 + turn % 2], length);
            for (volatile unsigned wait = 0; wait < turn % 20000; wait++);
        }
    for (int done = 0; done < tries; done++) {
        pid_t child = vfork();
        if (child == 0) {
            char *argv[] = {words[1], shared, NULL};
            execve(words[1], argv, environ);
            _exit(126);
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status)) killed++;
        else if (WEXITSTATUS(status) == 126) refused++;
        else ran++;
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    printf("%d ran, %d were refused, %d were killed\n", ran, refused, killed);
    return 0;
}

static char **spawned;
static int spawns;
static void tick(int signal) { (void)signal; }

static void *spawner(void *failed) {
    for (int done = 0; done < spawns; done++) {
        pid_t child = vfork();
        if (child == 0) {
            execve(spawned[0], spawned, environ);
            _exit(126);
        }
        int status = 1;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR);
        if (child < 0 || status != 0) __atomic_add_fetch((int *)failed, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static int spawn(char **words) {
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, 500}, {0, 500}};
    pthread_t threads[4];
    int failed = 0;
    spawns = (atoi(words[0]) + 3) / 4;
    spawned = words + 1;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, spawner, &failed);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    printf("%d failed\n", failed);
    return failed != 0;
}

static char *turning;
static char **turns;
static void *turn(void *unused) {
    (void)unused;
    size_t length = strlen(turns[1]);
    for (unsigned turn = 0;; turn++) {
        memcpy(turning, turns[1 + turn % 2], length);
        for (volatile unsigned wait = 0; wait < turn % 3000; wait++);
    }
    return NULL;
}

/* The path lies in memory that another thread goes on writing. FENCE_RACE_TRIES tells how often in the place of TRIES. */
static int open_race(char **words) {
    const char *told = getenv("FENCE_RACE_TRIES");
    int tries = atoi(told ? told : words[0]), opened = 0, refused = 0;
    pthread_t thread;
    turning = strdup(words[1]);
    turns = words;
    close(open(words[2], O_WRONLY | O_CREAT, 0600));
    if (strlen(words[1]) != strlen(words[2]) || pthread_create(&thread, NULL, turn, NULL)) return 2;
    for (int done = 0; done < tries; done++) {
        int file = open(turning, O_WRONLY | O_CREAT, 0600);
        if (file < 0) refused++;
        else { opened++; close(file); }
    }
    printf("%d were opened, %d were refused\n", opened, refused);
    return access(words[2], F_OK) == 0 ? 0 : 1;
}

static int tries_of(const char *word) {
    const char *told = getenv("FENCE_RACE_TRIES");
    return atoi(told ? told : word);
}

static struct sockaddr_un named;
static char names[2][108];

static void *rename_turning(void *unused) {
    (void)unused;
    for (unsigned turn = 0;; turn++) {
        memcpy(named.sun_path, names[turn % 2], sizeof names[0]);
        for (volatile unsigned wait = 0; wait < turn % 3000; wait++);
    }
    return NULL;
}

static int connect_race(char **words) {
    int tries = tries_of(words[0]), reached = 0, refused = 0;
    pthread_t thread;
    snprintf(names[0], sizeof names[0], "%s", words[1]);
    snprintf(names[1], sizeof names[1], "/tmp/own-%d", getpid());
    named.sun_family = AF_UNIX;
    memcpy(named.sun_path, names[1], sizeof names[1]);
    int own = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (bind(own, (struct sockaddr *)&named, sizeof named)) return 2;
    memcpy(named.sun_path, names[0], sizeof names[0]);
    sendto(own, "x", 1, 0, (struct sockaddr *)&named, sizeof named);
    if (pthread_create(&thread, NULL, rename_turning, NULL)) return 2;
    for (int done = 0; done < tries; done++) {
        int sent = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), way = done % 3;
        struct iovec part = {"x", 1};
        struct msghdr header = {.msg_name = &named, .msg_namelen = sizeof named, .msg_iov = &part, .msg_iovlen = 1};
        int answer = way == 0   ? connect(sent, (struct sockaddr *)&named, sizeof named)
                     : way == 1 ? sendto(sent, "x", 1, 0, (struct sockaddr *)&named, sizeof named)
                                : sendmsg(sent, &header, 0);
        if (way == 0 && answer == 0) answer = send(sent, "x", 1, 0);
        if (answer >= 0) reached++; else refused++;
        close(sent);
        char byte;
        while (recv(own, &byte, 1, MSG_DONTWAIT) > 0) {}
    }
    printf("%d came through, %d did not\n", reached, refused);
    return 0;
}

static int swapped[2];

static void *swap(void *unused) {
    (void)unused;
    for (unsigned turn = 0;; turn++) {
        dup2(swapped[turn % 2], 50);
        for (volatile unsigned wait = 0; wait < turn % 3000; wait++);
    }
    return NULL;
}

static int swap_forever(void *unused) {
    swap(unused);
    return 0;
}

static int swap_race(char **words, int shared) {
    static char stack[65536];
    int tries = tries_of(words[0]), pair[2], swapper = -1;
    pthread_t thread;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", words[1]);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 2;
    swapped[0] = pair[0];
    swapped[1] = socket(AF_UNIX, SOCK_DGRAM, 0);
    dup2(swapped[1], 50);
    sendto(50, "x", 1, 0, (struct sockaddr *)&to, sizeof to);
    if (shared) swapper = clone(swap_forever, stack + sizeof stack, CLONE_FILES | SIGCHLD, NULL);
    if (shared ? swapper < 0 : pthread_create(&thread, NULL, swap, NULL)) return 2;
    for (int done = 0; done < tries; done++) {
        struct iovec part = {"x", 1};
        struct msghdr header = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
        struct mmsghdr headers = {.msg_hdr = header};
        if (done % 2) sendmsg(50, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        else sendmmsg(50, &headers, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (swapper > 0) kill(swapper, SIGKILL);
    return 0;
}

static struct sockaddr_in meant;
static in_port_t ports[2];
static volatile int exchanged[2];

static void *exchange_all(void *unused) {
    (void)unused;
    for (unsigned turn = 0;; turn++) {
        meant.sin_port = ports[turn % 2];
        if (turn % 3 == 0) dup2(exchanged[turn % 2], 50);
        for (volatile unsigned wait = 0; wait < turn % 3000; wait++);
    }
    return NULL;
}

static int tcp_race(char **words) {
    int tries = tries_of(words[0]), pair[2], answered = 0, refused = 0, reached = 0;
    pthread_t thread;
    for (int i = 0; i < 2; i++) ports[i] = htons(atoi(words[1 + i]));
    meant.sin_family = AF_INET;
    meant.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 2;
    exchanged[0] = pair[0];
    exchanged[1] = pair[1];
    for (int done = 0; done < tries && !reached; done++) {
        int made = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in peer = {0};
        socklen_t size = sizeof peer;
        if (made < 0) return 2;
        exchanged[1] = made;
        dup2(made, 50);
        if (done == 0 && pthread_create(&thread, NULL, exchange_all, NULL)) return 2;
        if (connect(50, (struct sockaddr *)&meant, sizeof meant)) refused++; else answered++;
        if (!getpeername(made, (struct sockaddr *)&peer, &size) && peer.sin_port == ports[1]) reached++;
        exchanged[1] = pair[1];
        close(made);
    }
    printf("%d were connected, %d refused, %d to the other\n", answered, refused, reached);
    return reached ? 0 : 1;
}

static int mkdirs(char **words) {
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, 200}, {0, 200}};
    char path[4096];
    int tries = atoi(words[0]);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int done = 0; done < tries; done++) {
        snprintf(path, sizeof path, "%s/%d", words[1], done);
        if (mkdir(path, 0700)) { printf("%s: %s\n", path, errno_name(errno)); return 1; }
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "calls")) return calls(argc - 2, argv + 2);
    if (argc > 2 && !strcmp(what, "setid-openat2")) return setid_openat2(argv[2]);
    if (argc > 2 && !strcmp(what, "thread")) return thread(argv + 2);
    if (argc > 5 && !strcmp(what, "race")) return race(argv + 2);
    if (argc > 3 && !strcmp(what, "spawn")) return spawn(argv + 2);
    if (argc > 4 && !strcmp(what, "open-race")) return open_race(argv + 2);
    if (argc > 3 && !strcmp(what, "connect-race")) return connect_race(argv + 2);
    if (argc > 3 && !strcmp(what, "swap-race")) return swap_race(argv + 2, 0);
    if (argc > 3 && !strcmp(what, "share-race")) return swap_race(argv + 2, 1);
    if (argc > 4 && !strcmp(what, "tcp-race")) return tcp_race(argv + 2);
    if (argc > 3 && !strcmp(what, "mkdirs")) return mkdirs(argv + 2);
    if (argc > 2 && !strcmp(what, "memfd")) return memfd(argv + 2);
    if (argc > 2 && !strcmp(what, "descriptor-exec")) return descriptor_exec(argv + 2);
    if (argc > 2 && !strcmp(what, "ptrace")) {
        if (ptrace(PTRACE_SEIZE, atoi(argv[2]), 0, 0) == 0) return 0;
        printf("%s\n", errno_name(errno));
        return 1;
    }
    if (!strcmp(what, "signal-self")) { signal(SIGSEGV, SIG_DFL); raise(SIGSEGV); }
    fprintf(stderr, "probe: what?\n");
    return 2;
}
