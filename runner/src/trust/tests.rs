use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::source::Origin;

use super::store::Revoked;
use super::{RECORD_VERSION, Record, Standing, Store, TrustError, closure_hash};
use crate::audit::Timestamp;

struct Case {
    folder: tempfile::TempDir,
    store: Store,
    file: AbsolutePath,
}

fn absolute(path: &Path) -> AbsolutePath {
    AbsolutePath::new(path.as_os_str().as_bytes()).unwrap()
}

fn case() -> Case {
    let folder = tempfile::tempdir().unwrap();
    let state = absolute(&folder.path().join("above/fence"));
    let store = Store::in_folder(state, nix::unistd::getuid().as_raw());
    Case { folder, store, file: AbsolutePath::new(b"/work/policy.fence").unwrap() }
}

fn record(case: &Case, sha256: &str) -> Record {
    Record {
        version: RECORD_VERSION,
        file: case.file.clone(),
        sha256: sha256.to_owned(),
        fence: "0.1.0".to_owned(),
        time: Timestamp::from_unix_millis(0),
    }
}

fn only_record(case: &Case) -> std::path::PathBuf {
    let folder = case.folder.path().join("above/fence/trust");
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

#[test]
fn a_policy_is_trusted_until_it_changes_or_is_revoked() {
    let case = case();
    assert_eq!(case.store.standing(&case.file, "a").unwrap(), Standing::Unknown);
    case.store.trust(&record(&case, "a")).unwrap();
    assert_eq!(case.store.standing(&case.file, "a").unwrap(), Standing::Trusted);
    assert_eq!(case.store.standing(&case.file, "b").unwrap(), Standing::Changed(record(&case, "a")));
    case.store.trust(&record(&case, "b")).unwrap();
    assert_eq!(case.store.standing(&case.file, "b").unwrap(), Standing::Trusted);
    assert_eq!(case.store.list().unwrap(), [record(&case, "b")]);
    assert_eq!(case.store.revoke(&case.file).unwrap(), Revoked::Yes);
    assert_eq!(case.store.revoke(&case.file).unwrap(), Revoked::WasNone);
    assert_eq!(case.store.standing(&case.file, "b").unwrap(), Standing::Unknown);
    assert_eq!(case.store.list().unwrap(), []);
}

#[test]
fn records_are_for_their_owner_only() {
    let case = case();
    case.store.trust(&record(&case, "a")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&case.folder.path().join("above/fence")), 0o700);
    assert_eq!(mode(&case.folder.path().join("above/fence/trust")), 0o700);
    assert_eq!(mode(&only_record(&case)), 0o600);
}

#[test]
fn a_record_that_others_could_have_written_is_refused() {
    let unsafe_after = |change: &dyn Fn(&Path)| {
        let case = case();
        case.store.trust(&record(&case, "a")).unwrap();
        change(&only_record(&case));
        matches!(case.store.standing(&case.file, "a"), Err(TrustError::Unsafe { .. }))
    };
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    assert!(!unsafe_after(&|_| {}));
    assert!(unsafe_after(&|path| set(path, 0o620)));
    assert!(unsafe_after(&|path| set(path.parent().unwrap(), 0o770)));
    assert!(unsafe_after(&|path| set(path.parent().unwrap().parent().unwrap(), 0o777)));
    assert!(unsafe_after(&|path| fs::write(path, "{}").unwrap()));
    assert!(unsafe_after(&|path| {
        let aside = path.with_extension("aside");
        fs::rename(path, &aside).unwrap();
        symlink(aside, path).unwrap();
    }));
    if nix::unistd::getuid().is_root() {
        let give = |path: &Path| nix::unistd::chown(path, Some(12345.into()), None).unwrap();
        assert!(unsafe_after(&|path| give(path)));
        assert!(unsafe_after(&|path| give(path.parent().unwrap())));
    } else {
        eprintln!("skipped: only root can give a file away");
    }
}

#[test]
fn the_hash_hangs_on_every_text_and_where_it_lies() {
    let file = |name: &str| Origin::File(AbsolutePath::new(name.as_bytes()).unwrap());
    let hash = |texts: &[(Origin, &str)]| {
        closure_hash(
            &texts
                .iter()
                .map(|(origin, text)| (origin.clone(), (*text).to_owned()))
                .collect::<BTreeMap<_, _>>(),
        )
    };
    let hashes = [
        hash(&[(file("/a"), "x")]),
        hash(&[(file("/a"), "y")]),
        hash(&[(file("/b"), "x")]),
        hash(&[(file("/a"), "x"), (file("/b"), "")]),
        hash(&[(file("/a"), "x"), (Origin::BuiltIn("base".to_owned()), "")]),
        hash(&[(Origin::User(AbsolutePath::new(b"/a").unwrap()), "x")]),
    ];
    let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
    assert_eq!(hash(&[(file("/a"), "x")]), hashes[0]);
}
