//! The files by which programs inside resolve names.

use std::ffi::CString;

use fence_compiler::plan::{NamesFile, RESOLVER};

/// What such a file holds.
pub(crate) fn names_file(file: NamesFile) -> CString {
    let text = match file {
        NamesFile::Hosts => hosts(&nix::unistd::gethostname().unwrap_or_default().to_string_lossy()),
        NamesFile::Resolver => format!("nameserver {RESOLVER}\n"),
        NamesFile::Order => ORDER.to_owned(),
    };
    CString::new(text).unwrap_or_default()
}

/// Users come from files too: whoever else knows them is not reached from inside.
const ORDER: &str = "passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
ethers: files
rpc: files
";

fn hosts(own: &str) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    let fits = own.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !own.is_empty() && own != "localhost" && fits {
        text.push_str(&format!("127.0.1.1 {own}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::hosts;

    #[test]
    fn the_own_name_is_loopback_and_cannot_be_more_than_a_name() {
        assert!(hosts("build-7").ends_with("127.0.1.1 build-7\n"));
        for strange in ["", "localhost", "a b", "a\n8.8.8.8 b", "#"] {
            assert_eq!(hosts(strange).lines().count(), 2, "{strange:?}");
        }
    }
}
