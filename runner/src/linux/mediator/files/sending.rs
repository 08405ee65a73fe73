//! Sending to sockets: what is sent is read once, and sent by the mediator to what has been judged.
//!
//! Only a datagram of a Unix socket goes to a path. What is sent on another socket the kernel sends, if nobody can put
//! another one in its place meanwhile; else it is sent from here, too.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::super::place::{Own, process_of};
use super::connecting::Target;
use super::request::{LONGEST_ADDRESS, Sent, read_address};
use super::waiting::interrupted;
use super::{Act, Caller, Done, No};
use crate::linux::mediator::memory::Memory;
use crate::linux::sys::connection::{self, Kind, Message};
use crate::linux::sys::notice::{self, Answer, Notice};
use crate::linux::sys::{self, file};

/// How much of a stream is sent at once; whoever sends is told how much it was.
const MOST_OF_STREAM: usize = 256 * 1024;
/// How many parts and messages one call has at most, as in the kernel.
const MOST_PARTS: u64 = 1024;
/// How long control messages may be together, and how many descriptors they carry.
const MOST_CONTROL: u64 = 20_480;
const MOST_CARRIED: usize = 253;
/// The lengths of a `struct msghdr` and a `struct mmsghdr`, and where in the latter is told what was sent.
const HEADER: usize = 56;
const NUMBERED_HEADER: u64 = 64;
/// The flags that are passed on.
const FLAGS: i32 = libc::MSG_OOB
    | libc::MSG_DONTROUTE
    | libc::MSG_DONTWAIT
    | libc::MSG_EOR
    | libc::MSG_NOSIGNAL
    | libc::MSG_MORE
    | libc::MSG_CONFIRM;
/// How many messages wait at once, and how many descriptors they hold.
const MOST_WAITING: usize = 64;
const MOST_HELD: usize = 256;
/// How often those that wait are tried again, and looked after, in milliseconds.
const PATIENCE: i32 = 2;
const LOOKED_AFTER: u64 = 20_000_000;

/// A message that is ready to be sent.
struct Letter {
    socket: OwnedFd,
    kind: Kind,
    message: Message,
    flags: i32,
    /// What the message holds by number: the socket that it goes to, the descriptors that it carries.
    held: Vec<OwnedFd>,
    /// Where in the caller's memory is told how much was sent.
    told: Option<u64>,
}

/// Messages that wait until they can be sent.
#[derive(Default)]
pub(super) struct Sending {
    waiting: Vec<(Notice, Letter, Option<u64>)>,
    looked: u64,
}

impl Caller<'_> {
    pub(super) fn send(&mut self, number: i32, sent: Sent, flags: i32) -> Result<Done, No> {
        let socket = self.tree.take(self.notice.thread, number)?;
        let kind = connection::kind(socket.as_raw_fd())?;
        let is_judged =
            kind.family == libc::AF_UNIX && !matches!(kind.of, libc::SOCK_STREAM | libc::SOCK_SEQPACKET);
        if !is_judged && self.sockets.is_alone(self.notice.thread) {
            return Ok(Done::GoOn);
        }
        // Programs do without these: what they ask for would hang on the memory of this process, and on connecting.
        if flags & libc::MSG_ZEROCOPY != 0 {
            return Err(No::Failed(Errno::ENOBUFS));
        }
        if flags & libc::MSG_FASTOPEN != 0 {
            return Err(No::Failed(Errno::EOPNOTSUPP));
        }
        let mut memory = Memory::of(self.notice.thread);
        match sent {
            Sent::To { data, length, name, name_length } => {
                let name = read_address(&mut memory, name, name_length)?;
                let header = Header { name, parts: vec![(data, length)], control: Vec::new() };
                let letter = self.letter(socket, kind, header, flags)?;
                self.post(letter)
            }
            Sent::Message { header } => {
                let header = Header::read(&mut memory, header)?;
                let letter = self.letter(socket, kind, header, flags)?;
                self.post(letter)
            }
            Sent::Messages { headers, count } => {
                let mut done = 0;
                for index in 0..u64::from(count).min(MOST_PARTS) {
                    match self.send_next(&mut memory, &socket, kind, headers, index, flags) {
                        Ok(Done::Later) if done > 0 => break,
                        Ok(Done::Later) => return Ok(Done::Later),
                        Ok(_) => done += 1,
                        Err(no) if done == 0 => return Err(no),
                        // What was sent is told; whoever goes on meets the error.
                        Err(_) => break,
                    }
                }
                Ok(Done::Number(done))
            }
        }
    }

    /// Sends one of several messages. Behind the first none waits.
    fn send_next(
        &mut self,
        memory: &mut Memory,
        socket: &OwnedFd,
        kind: Kind,
        headers: u64,
        index: u64,
        flags: i32,
    ) -> Result<Done, No> {
        let at = index.checked_mul(NUMBERED_HEADER).and_then(|offset| headers.checked_add(offset));
        let at = at.ok_or(Errno::EFAULT)?;
        let header = Header::read(memory, at)?;
        let socket = socket.try_clone().map_err(|_| Errno::EMFILE)?;
        let flags = if index == 0 { flags } else { flags | libc::MSG_DONTWAIT };
        let mut letter = self.letter(socket, kind, header, flags)?;
        letter.told = at.checked_add(u64::try_from(HEADER).unwrap_or_default());
        self.post(letter)
    }

    /// Reads what is to be sent, and judges where.
    fn letter(&mut self, socket: OwnedFd, kind: Kind, header: Header, flags: i32) -> Result<Letter, No> {
        let Header { name, parts, control } = header;
        let Target { address, file } = match name.is_empty() {
            true => Target { address: name, file: None },
            false => self.target(kind, name)?,
        };
        // The kernel is who netlink's sockets send to by themselves.
        let address = if kind.family == libc::AF_NETLINK { Vec::new() } else { address };
        let data = match kind.of {
            libc::SOCK_STREAM => gather(self.notice.thread, &parts, MOST_OF_STREAM)?,
            _ => {
                let room = connection::room(socket.as_raw_fd())?;
                let whole = parts.iter().fold(0_u64, |sum, (_, length)| sum.saturating_add(*length));
                if usize::try_from(whole).map_or(true, |whole| whole > room) {
                    return Err(No::Failed(Errno::EMSGSIZE));
                }
                gather(self.notice.thread, &parts, room)?
            }
        };
        let mut held: Vec<OwnedFd> = file.into_iter().collect();
        let control = self.control(kind, &control, &mut held)?;
        let message = Message { name: address, data, control };
        Ok(Letter { socket, kind, message, flags: flags & FLAGS, held, told: None })
    }

    /// The control messages that are passed on: descriptors, and what only bears on the packet itself.
    fn control(&self, kind: Kind, control: &[u8], held: &mut Vec<OwnedFd>) -> Result<Vec<u64>, No> {
        let mut words = Vec::new();
        for (level, what, data) in control_messages(control)? {
            match (kind.family, level, what) {
                (libc::AF_UNIX, libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let (numbers, rest) = data.as_chunks::<4>();
                    if !rest.is_empty() || numbers.len() > MOST_CARRIED {
                        return Err(No::Failed(Errno::EINVAL));
                    }
                    let mut carried = Vec::new();
                    for number in numbers {
                        let file = self.tree.take(self.notice.thread, i32::from_ne_bytes(*number))?;
                        carried.extend(file.as_raw_fd().to_ne_bytes());
                        held.push(file);
                    }
                    add_control(&mut words, level, what, &carried);
                }
                // The kernel says who sends by itself, where that is asked for.
                (libc::AF_UNIX, libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => self.ask_who(data)?,
                (libc::AF_UNIX, libc::SOL_SOCKET, _) => return Err(No::Failed(Errno::EINVAL)),
                (libc::AF_UNIX, ..) => {}
                (libc::AF_INET | libc::AF_INET6, level, what) if PASSED.contains(&(level, what)) => {
                    add_control(&mut words, level, what, data);
                }
                _ => return Err(No::Failed(Errno::EPERM)),
            }
        }
        Ok(words)
    }

    /// Whether credentials are the caller's own.
    fn ask_who(&self, data: &[u8]) -> Result<(), No> {
        let (numbers, rest) = data.as_chunks::<4>();
        let [process, user, group] = numbers else { return Err(No::Failed(Errno::EINVAL)) };
        let (own, _) = Own::Thread(self.notice.thread).numbers()?;
        let is_own = u32::from_ne_bytes(*process) == own
            && u32::from_ne_bytes(*user) == nix::unistd::geteuid().as_raw()
            && u32::from_ne_bytes(*group) == nix::unistd::getegid().as_raw();
        if rest.is_empty() && is_own { Ok(()) } else { Err(No::Failed(Errno::EPERM)) }
    }

    /// Sends a message, or has it wait.
    fn post(&mut self, letter: Letter) -> Result<Done, No> {
        if self.begin()? != Act::Now {
            return Ok(Done::Nothing);
        }
        match letter.send(self.notice) {
            Err(Errno::EAGAIN) if letter.waits()? => {
                self.sockets.sending.add(self.notice, letter)?;
                Ok(Done::Later)
            }
            sent => Ok(Done::Number(sent?)),
        }
    }
}

impl Letter {
    /// Sends it; how much, or that it is one of several.
    fn send(&self, notice: &Notice) -> Result<i32, Errno> {
        let sent = connection::send(self.socket.as_raw_fd(), &self.message, self.flags);
        // The signal is for whoever sends.
        if sent == Err(Errno::EPIPE)
            && self.kind.of == libc::SOCK_STREAM
            && self.flags & libc::MSG_NOSIGNAL == 0
            && let Some(process) = process_of(notice.thread)
            && notice::waits(notice.listener, notice.id)
        {
            connection::signal_thread(process, notice.thread, libc::SIGPIPE);
        }
        let sent = sent?;
        let Some(told) = self.told else { return i32::try_from(sent).map_err(|_| Errno::EMSGSIZE) };
        if notice::waits(notice.listener, notice.id) {
            connection::write_number(notice.thread, told, u32::try_from(sent).unwrap_or(u32::MAX))?;
        }
        Ok(1)
    }

    /// Whether whoever sends it waits until it can be sent.
    fn waits(&self) -> Result<bool, Errno> {
        let flags = file::flags(self.socket.as_raw_fd())?;
        Ok(self.flags & libc::MSG_DONTWAIT == 0 && flags & libc::O_NONBLOCK == 0)
    }
}

impl Sending {
    fn add(&mut self, notice: &Notice, letter: Letter) -> Result<(), Errno> {
        let held: usize = self.waiting.iter().map(|(_, letter, _)| letter.held.len()).sum();
        if self.waiting.len() >= MOST_WAITING || held + letter.held.len() > MOST_HELD {
            return Err(Errno::ENOBUFS);
        }
        let until =
            connection::patience(letter.socket.as_raw_fd())?.map(|time| sys::now().saturating_add(time));
        self.waiting.push((*notice, letter, until));
        Ok(())
    }

    /// How long nobody needs to try again; without end if nothing waits.
    pub(super) fn patience(&self) -> i32 {
        if self.waiting.is_empty() { -1 } else { PATIENCE }
    }

    /// Nobody is left whose calls are answered there.
    pub(super) fn gone(&mut self, listener: RawFd) {
        self.waiting.retain(|(notice, ..)| notice.listener != listener);
    }

    /// Tries again, and lets go of those whose thread is gone or gets a signal, and those that have waited long enough.
    pub(super) fn look_after(&mut self) {
        let now = sys::now();
        let looks = now.saturating_sub(self.looked) >= LOOKED_AFTER;
        if looks {
            self.looked = now;
        }
        self.waiting.retain(|(notice, letter, until)| {
            if !notice::waits(notice.listener, notice.id) {
                return false;
            }
            let answer = match letter.send(notice) {
                Ok(sent) => Answer::Done(sent),
                Err(Errno::EAGAIN) if until.is_none_or(|until| now < until) => {
                    match looks.then(|| interrupted(notice.thread)).flatten() {
                        Some(answer) => answer,
                        None => return true,
                    }
                }
                Err(errno) => Answer::Fail(errno),
            };
            let _ = notice::answer(notice.listener, notice.id, answer);
            false
        });
    }
}

/// Where a message goes, and where it lies.
struct Header {
    name: Vec<u8>,
    parts: Vec<(u64, u64)>,
    control: Vec<u8>,
}

impl Header {
    /// Reads a `struct msghdr`.
    fn read(memory: &mut Memory, at: u64) -> Result<Header, Errno> {
        let bytes = memory.bytes(at, HEADER)?;
        let (words, _) = bytes.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_ne_bytes(*word));
        let mut next = || words.next().ok_or(Errno::EFAULT);
        let (name, name_length) = (next()?, next()? as u32 as i32);
        let (parts, count, control, control_length) = (next()?, next()?, next()?, next()?);
        if name_length < 0 {
            return Err(Errno::EINVAL);
        }
        let name = match name {
            0 => Vec::new(),
            name => {
                let longest = i32::try_from(LONGEST_ADDRESS).unwrap_or(i32::MAX);
                read_address(memory, name, name_length.min(longest))?
            }
        };
        if count > MOST_PARTS {
            return Err(Errno::EMSGSIZE);
        }
        if control_length > MOST_CONTROL {
            return Err(Errno::ENOBUFS);
        }
        let size = |bytes: u64| usize::try_from(bytes).map_err(|_| Errno::EMSGSIZE);
        let listed = memory.bytes(parts, size(count * 16)?)?;
        let (parts, _) = listed.as_chunks::<8>();
        let numbers: Vec<u64> = parts.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let (pairs, _) = numbers.as_chunks::<2>();
        let parts = pairs.iter().map(|[base, length]| (*base, *length)).collect();
        let control = match control {
            0 => Vec::new(),
            control => memory.bytes(control, size(control_length)?)?,
        };
        Ok(Header { name, parts, control })
    }
}

/// What lies in these parts of a process's memory, as much of it as is wanted.
fn gather(thread: i32, parts: &[(u64, u64)], most: usize) -> Result<Vec<u8>, Errno> {
    let mut data = Vec::new();
    for (base, length) in parts {
        if length.cast_signed() < 0 {
            return Err(Errno::EINVAL);
        }
        let wanted = usize::try_from(*length).unwrap_or(usize::MAX).min(most - data.len());
        let (start, end) = (data.len(), data.len() + wanted);
        data.resize(end, 0);
        let mut at = start;
        while at < end {
            let offset = u64::try_from(at - start).map_err(|_| Errno::EFAULT)?;
            let from = base.checked_add(offset).ok_or(Errno::EFAULT)?;
            match notice::read_memory(thread, from, data.get_mut(at..end).unwrap_or_default())? {
                0 => return Err(Errno::EFAULT),
                read => at += read,
            }
        }
    }
    Ok(data)
}

/// What bears on a packet alone, by level and type: its service, its life, the interface and address that it leaves by, and how
/// it is cut.
const PASSED: [(i32, i32); 8] = [
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_PKTINFO),
    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
    (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG),
    (libc::SOL_UDP, libc::UDP_SEGMENT),
];

/// The length of what stands before each control message.
const CONTROL: usize = 16;

/// A control message: level, type, content.
type ControlMessage<'a> = (i32, i32, &'a [u8]);

/// The control messages in a buffer.
fn control_messages(buffer: &[u8]) -> Result<Vec<ControlMessage<'_>>, Errno> {
    let mut found = Vec::new();
    let mut rest = buffer;
    while let Some((head, _)) = rest.split_at_checked(CONTROL) {
        let (words, _) = head.as_chunks::<4>();
        let [low, high, level, what] = words else { return Err(Errno::EINVAL) };
        let length = u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << 32;
        let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
        let data = rest.get(CONTROL..length).ok_or(Errno::EINVAL)?;
        found.push((i32::from_ne_bytes(*level), i32::from_ne_bytes(*what), data));
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(found)
}

fn add_control(words: &mut Vec<u64>, level: i32, what: i32, data: &[u8]) {
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        u64::from_ne_bytes(word)
    };
    words.push(u64::try_from(CONTROL + data.len()).unwrap_or(u64::MAX));
    words.push(word(&[level.to_ne_bytes(), what.to_ne_bytes()].concat()));
    words.extend(data.chunks(8).map(word));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_are_read_as_they_are_written() {
        let mut words = Vec::new();
        add_control(&mut words, 1, 2, &[7; 12]);
        add_control(&mut words, 3, 4, &[]);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(control_messages(&bytes), Ok(vec![(1, 2, &[7; 12][..]), (3, 4, &[][..])]));
        for wrong in [15_u64, 0, 33, u64::MAX] {
            let bytes = [&wrong.to_ne_bytes()[..], &[0; 24]].concat();
            assert_eq!(control_messages(&bytes), Err(Errno::EINVAL), "{wrong}");
        }
        assert_eq!(control_messages(&[0; 15]), Ok(Vec::new()));
    }

    #[test]
    fn parts_of_memory_are_put_together() {
        let own = i32::try_from(std::process::id()).unwrap();
        let (one, other) = (vec![1_u8; 100_000], [2_u8; 3]);
        let parts = [(one.as_ptr() as u64, 100_000), (other.as_ptr() as u64, 3)];
        let whole = [&one[..], &other].concat();
        assert_eq!(gather(own, &parts, 200_000), Ok(whole));
        assert_eq!(gather(own, &parts, 100_001).unwrap().len(), 100_001);
        assert_eq!(gather(own, &[(8, 1)], 10), Err(Errno::EFAULT));
        assert_eq!(gather(own, &[(8, u64::MAX)], 10), Err(Errno::EINVAL));
    }
}
