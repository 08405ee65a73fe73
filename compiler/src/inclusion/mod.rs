//! Whether one pattern lies inside another, whatever the world.
//!
//! Both questions are answered on the safe side: *yes* is certain, *no* may only mean that it cannot be told
//! without a world. An inner pattern is read as one that opens, an outer one as one that closes.

mod command;
mod glob;
mod host;
mod path;

use crate::pattern::{
    CommandPattern, ConnectPattern, HttpPattern, NamePattern, PathPattern, PortRange, SshPattern,
};

/// Patterns that can be compared without a world.
pub(crate) trait Inclusion {
    /// Whether everything that this one covers is surely covered by `outer`.
    fn is_within(&self, outer: &Self) -> bool;
    /// Whether surely nothing is covered by both.
    fn is_apart_from(&self, other: &Self) -> bool;
}

impl Inclusion for PathPattern {
    fn is_within(&self, outer: &PathPattern) -> bool {
        path::is_within(self, outer)
    }

    fn is_apart_from(&self, other: &PathPattern) -> bool {
        path::are_apart(self, other)
    }
}

impl Inclusion for NamePattern {
    fn is_within(&self, outer: &NamePattern) -> bool {
        glob::is_within(&self.0, &outer.0)
    }

    fn is_apart_from(&self, other: &NamePattern) -> bool {
        glob::are_apart(&self.0, &other.0)
    }
}

impl Inclusion for PortRange {
    fn is_within(&self, outer: &PortRange) -> bool {
        outer.low <= self.low && self.high <= outer.high
    }

    fn is_apart_from(&self, other: &PortRange) -> bool {
        self.high < other.low || other.high < self.low
    }
}

impl Inclusion for ConnectPattern {
    fn is_within(&self, outer: &ConnectPattern) -> bool {
        host::is_within(&self.host, &outer.host) && ports(self.ports).is_within(&ports(outer.ports))
    }

    fn is_apart_from(&self, other: &ConnectPattern) -> bool {
        host::are_apart(&self.host, &other.host) || ports(self.ports).is_apart_from(&ports(other.ports))
    }
}

impl Inclusion for HttpPattern {
    fn is_within(&self, outer: &HttpPattern) -> bool {
        (outer.method.is_none() || outer.method == self.method)
            && host::is_within(&self.host, &outer.host)
            && (outer.ports.is_none() || ports(self.ports).is_within(&ports(outer.ports)))
            && path::covers(&outer.path, &self.path)
    }

    fn is_apart_from(&self, other: &HttpPattern) -> bool {
        let methods = matches!((&self.method, &other.method), (Some(one), Some(other)) if one != other);
        methods || host::are_apart(&self.host, &other.host) || path::cannot_meet(&self.path, &other.path)
    }
}

impl Inclusion for SshPattern {
    fn is_within(&self, outer: &SshPattern) -> bool {
        let commands = match (&self.command, &outer.command) {
            (_, None) => true,
            (Some(inner), Some(outer)) => inner.is_within(outer),
            (None, Some(_)) => false,
        };
        commands && host::is_within(&self.host, &outer.host)
    }

    fn is_apart_from(&self, other: &SshPattern) -> bool {
        let commands = match (&self.command, &other.command) {
            (Some(one), Some(other)) => one.is_apart_from(other),
            _ => false,
        };
        commands || host::are_apart(&self.host, &other.host)
    }
}

impl Inclusion for CommandPattern {
    fn is_within(&self, outer: &CommandPattern) -> bool {
        command::is_within(self, outer)
    }

    fn is_apart_from(&self, other: &CommandPattern) -> bool {
        command::are_apart(self, other)
    }
}

fn ports(ports: Option<PortRange>) -> PortRange {
    ports.unwrap_or(PortRange::ALL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::BuiltInScope;
    use crate::source::SourceId;

    const SCOPE: BuiltInScope = BuiltInScope { source: SourceId(0) };

    fn path(text: &str) -> PathPattern {
        PathPattern::parse(text, &SCOPE).unwrap().remove(0)
    }

    #[test]
    fn paths_lie_inside_paths() {
        for (inner, outer) in [
            ("~/.ssh/id_rsa", "~/.ssh"),
            ("~/.ssh", "~/.ssh"),
            ("$home/.ssh/x", "~/.ssh"),
            ("/etc/shadow", "/etc/sh*"),
            ("$cwd/.env", "**/.env"),
            ("**/.env", "**/.env"),
            ("**/a/.env", "**/.env"),
            ("/a/**/b/c", "/a/**/b"),
            ("/a/b/x/c", "/a/**/c"),
            ("$cwd/a", "$workspace"),
            ("$git_root/a", "$workspace/a"),
            ("/a/id_*", "/a/id*"),
            ("/a/[b]", "/a/?"),
            ("/anything", "/"),
            ("~/x", "/"),
            ("**/.env", "/"),
            ("/a/**/.env/x", "**/.env"),
            ("/a/id_[bc]*", "/a/id_[a-d]*"),
            ("/a/[bf]", "/a/[a-ce-g]"),
        ] {
            assert!(path(inner).is_within(&path(outer)), "{inner} in {outer}");
        }
    }

    #[test]
    fn what_is_not_certain_is_not_inside() {
        for (inner, outer) in [
            ("~/.ssh", "~/.ssh/id_rsa"),
            ("~/.ssh2", "~/.ssh"),
            ("/home/ada/.ssh", "~/.ssh"),
            ("$cwd", "**/.env"),
            ("/a/**/b", "/a/b"),
            ("/a/*", "/a/b*"),
            ("$cwd/a", "$workspace/a"),
            ("$workspace/a", "$cwd"),
            ("/a/?", "/a/[b]"),
            ("/a", "/a/*"),
            ("/a/[a-d]", "/a/[b-e]"),
            ("/a/[!a]", "/a/[a-z]"),
        ] {
            assert!(!path(inner).is_within(&path(outer)), "{inner} in {outer}");
        }
    }

    #[test]
    fn paths_are_apart_only_where_no_world_joins_them() {
        for (one, other, apart) in [
            ("~/.ssh/id", "~/.ssh/config", true),
            ("~/.ssh", "~/.ssh/config", false),
            ("/a/*.pub", "/a/key", true),
            ("/a/*.pub", "/a/key.pub", false),
            ("/a", "~/a", false),
            ("**/x", "/a", false),
            ("/a/**", "/b", true),
        ] {
            assert_eq!(path(one).is_apart_from(&path(other)), apart, "{one} and {other}");
            assert_eq!(path(other).is_apart_from(&path(one)), apart, "{other} and {one}");
        }
    }

    #[test]
    fn hosts_lie_inside_hosts() {
        let host = |text: &str| ConnectPattern::parse(text, &SCOPE).unwrap();
        for (inner, outer, within) in [
            ("github.com:443", "github.com", true),
            ("github.com", "github.com:443", false),
            ("api.x.org:80", "*.x.org:1-100", true),
            ("x.org", "*.x.org", false),
            ("*.a.x.org", "*.x.org", true),
            ("*", "*", true),
            ("x.org", "*", true),
            ("10.1.0.0/16", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.1.0.0/16", false),
            ("127.0.0.1:80", "localhost", true),
            ("localhost", "127.0.0.0/8", false),
            ("x.org", "10.0.0.0/8", false),
        ] {
            assert_eq!(host(inner).is_within(&host(outer)), within, "{inner} in {outer}");
        }
        assert!(host("a.org").is_apart_from(&host("b.org")));
        assert!(host("a.org:1").is_apart_from(&host("a.org:2")));
        assert!(!host("a.org").is_apart_from(&host("10.0.0.0/8")));
    }

    #[test]
    fn commands_lie_inside_the_beginnings_of_commands() {
        let command = |text: &str| CommandPattern::parse(text, &SCOPE).unwrap();
        for (inner, outer, within) in [
            ("git push origin", "git push", true),
            ("git push", "git push", true),
            ("git push ...", "git push", true),
            ("git", "git push", false),
            ("/usr/bin/git push", "git push", true),
            ("git pull", "git push", false),
            ("docker run --privileged x", "docker run --privileged", true),
            ("docker run x", "docker run --privileged", false),
            ("mkfs.ext4", "mkfs.*", true),
            ("*", "git", false),
            ("git -C x push", "git push", true),
            ("git -c a=b --no-pager push origin", "git push", true),
            ("git -C push status", "git push", false),
            ("docker run -it --priv x", "docker run --privileged", true),
            ("rm -rvf x", "rm -rf", true),
            ("rm -r x", "rm -rf", false),
            ("dd of=x if=y", "dd if=", true),
            ("git", "*", true),
        ] {
            assert_eq!(command(inner).is_within(&command(outer)), within, "{inner} in {outer}");
        }
        assert!(command("git push").is_apart_from(&command("npm publish")));
        assert!(command("git push origin").is_apart_from(&command("git push upstream")));
        assert!(!command("git push").is_apart_from(&command("git *")));
    }

    #[test]
    fn names_lie_inside_globs() {
        let name = |text: &str| NamePattern::parse(text, &SCOPE).unwrap();
        assert!(name("GH_TOKEN").is_within(&name("*_TOKEN")));
        assert!(name("A*_TOKEN").is_within(&name("*_TOKEN")));
        assert!(!name("*").is_within(&name("*_TOKEN")));
        assert!(name("PATH").is_apart_from(&name("*_TOKEN")));
        assert!(!name("A*").is_apart_from(&name("*B")));
    }
}
