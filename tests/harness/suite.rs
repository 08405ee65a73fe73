//! A suite: one test a case and person, run in parallel, filtered like any other test.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use super::backend::{Backend, Difference};
use super::case::Group;
use super::{Ground, Person, Scene, calls, exec, judge};

/// The tests of one binary.
pub struct Suite {
    arguments: Arguments,
    ground: Arc<Ground>,
    trials: Vec<Trial>,
    told: BTreeSet<String>,
    /// Why a person cannot run fence's own backend here, by role.
    barred: BTreeMap<&'static str, Option<String>>,
    /// What a cgroup of a run's own could hold here, by role.
    cgroups: BTreeMap<&'static str, serde_json::Value>,
}

impl Suite {
    /// A suite without tests.
    pub fn new(name: &str) -> Suite {
        let mut arguments = Arguments::from_args();
        // A case waits as long as it computes.
        let twice = std::thread::available_parallelism().map_or(2, |processors| 2 * processors.get());
        arguments.test_threads.get_or_insert(twice);
        Suite {
            arguments,
            ground: Arc::new(Ground::new(name)),
            trials: Vec::new(),
            told: BTreeSet::new(),
            barred: BTreeMap::new(),
            cgroups: BTreeMap::new(),
        }
    }

    /// Adds the cases of every file in a directory below `tests`.
    pub fn add_cases(&mut self, directory: &str) {
        for (name, group) in groups(directory) {
            let group = Arc::new(group);
            for index in 0..group.cases.len() {
                let case = &group.cases[index];
                let of_root = case.fixture.iter().any(|entry| entry.owner.as_deref() == Some("root"));
                if of_root && !Person::oneself().is_root() {
                    self.told.insert(format!("left out: only root can lay out `{name}::{}`", case.name));
                    continue;
                }
                for person in
                    Person::everybody().into_iter().filter(|p| case.persons.iter().any(|r| r == p.role))
                {
                    let (ground, shared, someone) = (self.ground.clone(), group.clone(), person.clone());
                    let name = format!("{name}::{}", case.name);
                    self.add_together(&name, &person, (&case.together, &case.needs), move || {
                        judge::judge(&ground, &shared, &shared.cases[index], &someone)
                    });
                }
            }
            if !group.calls.is_empty() {
                for person in Person::everybody() {
                    let (ground, shared, someone) = (self.ground.clone(), group.clone(), person.clone());
                    self.add(&format!("{name}::every call"), &person, move || {
                        calls::judge(&ground, &shared, &someone)
                    });
                }
            }
        }
    }

    /// Adds the cases of every file in a directory below `tests` once more for each backend that is not fence's own, as an
    /// ordinary person; with `FENCE_TEST_BACKENDS=everybody` as root too. They are left out, which is said, unless
    /// `FENCE_TEST_LONG` asks for what takes long, or the command line for some of the tests.
    ///
    /// # Panics
    ///
    /// When a difference names a case that is not there, or one twice.
    pub fn add_cases_by_backend(&mut self, directory: &str, differences: &[Difference]) {
        // A session has one backend.
        if std::env::var_os("FENCE_TEST_SESSION").is_some() {
            return;
        }
        let groups = groups(directory);
        let mut persons = Person::everybody();
        let asked = std::env::var_os("FENCE_TEST_BACKENDS");
        if asked != Some(OsString::from("everybody")) && persons.len() > 1 {
            persons.retain(|person| !person.is_root());
        }
        if asked.is_none() && self.arguments.filter.is_none() && !takes_long() {
            self.told.insert(
                "left out: all of this by bubblewrap and by Landlock alone (FENCE_TEST_LONG=1)".to_owned(),
            );
            persons.clear();
        }
        let mut known = BTreeMap::new();
        for difference in differences {
            for (backend, case) in difference
                .backends
                .iter()
                .flat_map(|one| difference.cases.iter().map(move |case| (*one, case)))
            {
                let twice = known.insert((backend, case.clone()), difference);
                assert!(twice.is_none(), "{case} differs twice by {}", backend.name());
            }
        }
        for (name, group) in groups {
            let group = Arc::new(group);
            for index in 0..group.cases.len() {
                let case = &group.cases[index];
                let name = format!("{name}::{}", case.name);
                let of_root = case.fixture.iter().any(|entry| entry.owner.as_deref() == Some("root"));
                for backend in Backend::ALL {
                    let difference = known.remove(&(backend, name.clone()));
                    if of_root && !Person::oneself().is_root() {
                        continue;
                    }
                    let needs: Vec<String> =
                        case.needs.iter().cloned().chain(backend.program().map(str::to_owned)).collect();
                    for person in persons.iter().filter(|p| case.persons.iter().any(|r| r == p.role)).cloned()
                    {
                        let (ground, shared, someone) = (self.ground.clone(), group.clone(), person.clone());
                        let then = difference
                            .filter(|one| one.is_here() && one.persons.iter().any(|role| role == person.role))
                            .map(|one| one.then);
                        let name = format!("{name}, by {}", backend.name());
                        self.add_needing(&name, &person, &needs, move || {
                            judge::judge_by(backend, then, (&ground, &shared, &shared.cases[index], &someone))
                        });
                    }
                }
            }
        }
        assert!(known.is_empty(), "there are no such cases: {:?}", known.keys());
    }

    /// Adds one test for a person.
    pub fn add(
        &mut self,
        name: &str,
        person: &Person,
        test: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) {
        self.add_needing(name, person, &[], test);
    }

    /// Adds one test for a person that needs these programs: skipped with a line where one is missing, an error
    /// there when `CI=true`.
    pub fn add_needing(
        &mut self,
        name: &str,
        person: &Person,
        needs: &[String],
        test: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) {
        let missing = needs
            .iter()
            .find(|program| !is_there(program))
            .map(|program| format!("`{program}` is not installed"));
        let barred = self.barred.entry(person.role).or_insert_with(|| no_namespaces(person));
        let missing = missing.or_else(|| barred.clone());
        let required = std::env::var_os("CI") == Some(OsString::from("true"));
        let name = format!("{name} ({person})");
        let trial = match missing {
            Some(missing) if required => Trial::test(name, || Err(Failed::from(missing))),
            Some(missing) => {
                self.told.insert(format!("skipped as {person}: {missing}"));
                Trial::test(name, || Ok(())).with_ignored_flag(true)
            }
            None => Trial::test(name, || test().map_err(Failed::from)),
        };
        self.trials.push(trial);
    }

    /// Adds one test for a person that needs programs as in [`Suite::add_needing`], and a cgroup that holds something of all of a
    /// run's processes together. Where none does, it is skipped with a line everywhere: which controllers there are, a machine for
    /// tests cannot choose.
    pub fn add_together(
        &mut self,
        name: &str,
        person: &Person,
        (together, needs): (&[String], &[String]),
        test: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) {
        let lacking = together.iter().find_map(|what| self.lacks(person, what));
        match lacking {
            None => self.add_needing(name, person, needs, test),
            Some(why) => {
                self.told.insert(format!("skipped as {person}: {why}"));
                self.trials
                    .push(Trial::test(format!("{name} ({person})"), || Ok(())).with_ignored_flag(true));
            }
        }
    }

    /// Why no cgroup holds something for a person, as fence itself sees it.
    fn lacks(&mut self, person: &Person, what: &str) -> Option<String> {
        let ground = &self.ground;
        let facts = self.cgroups.entry(person.role).or_insert_with(|| cgroups(ground, person));
        match &facts[what] {
            serde_json::Value::String(_) => None,
            why => Some(format!("no cgroup holds {what}: {}", why["no"].as_str().unwrap_or("?"))),
        }
    }

    /// What all tests stand on.
    pub fn ground(&self) -> Arc<Ground> {
        self.ground.clone()
    }

    /// Runs what the command line asks for.
    pub fn run(self) -> ExitCode {
        self.told.iter().for_each(|line| eprintln!("{line}"));
        libtest_mimic::run(&self.arguments, self.trials).exit_code()
    }
}

/// What `fence doctor` tells of cgroups to a person.
fn cgroups(ground: &Ground, person: &Person) -> serde_json::Value {
    let scene = Scene::new(ground, person, &[], &[]);
    let fence = scene.fence().display().to_string();
    let told = scene.start().words([fence.as_str(), "doctor", "--format", "json"]).run();
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    told["host"]["features"]["cgroup"].clone()
}

/// The groups of cases in a directory below `tests`, with the names of their files, in the order of these.
pub fn groups(directory: &str) -> Vec<(String, Group)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(directory);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: PathBuf| {
        let group = serde_yaml::from_str(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        (file.file_stem().unwrap().to_string_lossy().into_owned(), group)
    };
    files.into_iter().map(read).collect()
}

/// Whether tests are asked for that take long.
pub fn takes_long() -> bool {
    std::env::var_os("FENCE_TEST_LONG").is_some()
}

fn is_there(program: &str) -> bool {
    exec::PATH.split(':').any(|directory| Path::new(directory).join(program).is_file())
}

/// Why a person cannot run fence's own backend here, if that is so.
fn no_namespaces(person: &Person) -> Option<String> {
    use std::os::unix::process::CommandExt;
    let restricted = fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    if !person.is_root() && restricted.is_ok_and(|text| text.trim() == "1") {
        return Some("user namespaces are restricted by AppArmor".to_owned());
    }
    let mut command = Command::new("/bin/true");
    if *person != Person::oneself() {
        command.uid(person.uid.as_raw()).gid(person.gid.as_raw());
    }
    // SAFETY: between fork and exec only `unshare` is called.
    unsafe {
        command.pre_exec(|| match libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    match command.status() {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("no user namespace: {status}")),
        Err(error) => Some(format!("no user namespace: {error}")),
    }
}
