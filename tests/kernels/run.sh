#!/bin/sh
# Runs a suite of tests on another kernel, in a virtual machine whose file tree is a copy of this machine's.
#
# usage: tests/kernels/run.sh KERNEL.deb SUITE [WORDS FOR THE SUITE]...
#
# Needs: qemu-system-x86, squashfs-tools, busybox-static, kmod, cpio, dpkg. Processors are emulated (QEMU_ACCEL=kvm where that
# works), so a suite takes about ten times as long. Everything is made in $FENCE_KERNELS (target/kernels).
set -eu

[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
deb=$(realpath "$1") suite=$2
shift 2
repository=$(cd "$(dirname "$0")/../.." && pwd)
work=${FENCE_KERNELS:-$repository/target/kernels}
mkdir -p "$work"

# The suite, and the fence that it runs.
built=$(cd "$repository" && cargo test --locked -p fence-sandbox --test "$suite" --no-run 2>&1) || { echo "$built"; exit 1; }
test=$(realpath "$(echo "$built" | sed -n 's/.*Executable .*(\(.*\))/\1/p' | head -n 1)")
fence=$(dirname "$(dirname "$test")")/fence

# The image holds what only root may read here.
umask 077

# The file tree: programs and libraries of this machine, without what no test needs.
image=$work/root.squashfs
without=""
for path in usr/share/doc usr/share/man usr/share/locale usr/share/icons usr/lib/debug usr/lib/jvm 'usr/lib/llvm-*' \
    usr/lib/chromium usr/lib/google-cloud-sdk; do
    without="$without --exclude=$path"
done
# shellcheck disable=SC2086
tar -C / -cf - --one-file-system $without --exclude="${work#/}" --exclude=target --exclude=.git \
    bin sbin lib lib64 usr etc "${repository#/}" |
    { rm -f "$image"; sqfstar -comp lz4 -no-progress "$image" >/dev/null; }

# The kernel, and what mounts the tree, with a layer over it in memory.
kernel=$work/$(basename "$deb" .deb)
if [ ! -e "$kernel/init.cpio" ]; then
    rm -rf "$kernel" && mkdir -p "$kernel/root/bin" && dpkg -x "$deb" "$kernel/deb"
    version=$(ls "$kernel/deb/lib/modules")
    (cd "$kernel/root" && mkdir -p proc sys dev new tree layer lib/modules)
    cp "$(command -v busybox)" "$kernel/root/bin/busybox"
    cp -r "$kernel/deb/lib/modules/$version" "$kernel/root/lib/modules/"
    depmod -b "$kernel/root" "$version"
    cat >"$kernel/root/init" <<'I'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t devtmpfs dev /dev
# Nothing is left of what lies here when the tree takes its place, so what a sandbox needs of netfilter is loaded as well.
for module in virtio_pci virtio_blk squashfs overlay nf_tables nft_chain_nat nft_redir nft_reject_inet nft_ct \
    nft_log nfnetlink_log; do
    modprobe $module 2>/dev/null
done
until [ -e /dev/vdb ]; do sleep 0.1; done
mount -t squashfs -o ro /dev/vda /tree
mount -t tmpfs -o size=60% tmpfs /layer && mkdir /layer/upper /layer/work && chmod 755 /layer/upper
mount -t overlay -o lowerdir=/tree,upperdir=/layer/upper,workdir=/layer/work overlay /new
cd /new && mkdir -p proc sys dev tmp root run var/tmp var/lib var/log home job && chmod 1777 tmp var/tmp && chmod 700 root
tar -C job -xf /dev/vdb && ip link set lo up && hostname machine
umount /sys /proc && mount --move /dev dev && mount -t proc proc proc && mount -t sysfs sys sys
ln -s /proc/self/fd dev/fd && ln -s fd/0 dev/stdin && ln -s fd/1 dev/stdout && ln -s fd/2 dev/stderr
mkdir -p dev/pts dev/shm && mount -t devpts -o ptmxmode=666,gid=5,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm && mount -t tmpfs -o mode=755 tmpfs run && mount -t cgroup2 cgroup2 sys/fs/cgroup
exec switch_root /new /bin/sh /job/job.sh
I
    chmod 755 "$kernel/root/init"
    (cd "$kernel/root" && find . | cpio -o -H newc --quiet) >"$kernel/init.cpio"
fi

# What is done there.
job=$(mktemp -d "$work/job.XXXXXX")
trap 'rm -rf "$job" "$job.tar"' EXIT
cp "$test" "$job/suite" && cp "$fence" "$job/fence" && chmod 755 "$job/suite" "$job/fence"
{
    echo 'export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root RUST_BACKTRACE=0 INSTA_UPDATE=no'
    # A place for cgroups of the ordinary user (the first account of tests/harness/person.rs) and of root, beside the suite's own.
    echo 'cd /sys/fs/cgroup && echo "+cpu +memory +pids" >cgroup.subtree_control && mkdir delegated delegated/suite && cd delegated &&'
    echo 'echo "+cpu +memory +pids" >cgroup.subtree_control && chown games . cgroup.procs cgroup.subtree_control && echo $$ >suite/cgroup.procs'
    echo 'dmesg -n 1; uname -r'
    echo "cd '$repository/runner' && mkdir -p '$(dirname "$test")' && cp /job/suite '$test' && cp /job/fence '$fence'"
    printf "'%s'" "$test"
    for word; do printf " '%s'" "$word"; done
    printf '\necho "ended with $?"\npoweroff -f\n'
} >"$job/job.sh"
tar -C "$job" -cf "$job.tar" .

accel=${QEMU_ACCEL:-tcg,thread=multi}
qemu-system-x86_64 -accel "$accel" -cpu max -m 6144 -smp 2 -nographic -no-reboot -nic none -device virtio-rng-pci \
    -kernel "$(ls "$kernel"/deb/boot/vmlinuz-*)" -initrd "$kernel/init.cpio" -append "console=ttyS0 quiet panic=-1" \
    -drive "file=$image,format=raw,if=virtio,readonly=on" -drive "file=$job.tar,format=raw,if=virtio" </dev/null |
    tr -d '\r' | tee "$kernel/$suite.log"
grep -q '^ended with 0$' "$kernel/$suite.log"
