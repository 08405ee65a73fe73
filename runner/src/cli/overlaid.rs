//! `fence run --overlay`: what is written goes to an overlay.

#[cfg(target_os = "linux")]
pub(super) use linux::Overlay;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Overlay;

#[cfg(target_os = "linux")]
mod linux {
    use anyhow::bail;
    use fence_compiler::host;

    use crate::cli::arguments::{BackendName, Run};
    use crate::cli::own::Plan;
    use crate::cli::screen::Screen;
    use crate::host::ProbedFiles;
    use crate::overlay;

    /// The overlay of a run, if it has one.
    #[derive(Debug)]
    pub(in crate::cli) struct Overlay(Option<overlay::Overlay>);

    /// The machine's files as the run will see them.
    #[derive(Debug)]
    pub(in crate::cli) enum Files {
        /// As they are.
        Plain(ProbedFiles),
        /// With what the overlay holds.
        Merged(overlay::Merged),
    }

    impl Files {
        pub(in crate::cli) fn seen(&mut self) -> &mut dyn host::Files {
            match self {
                Files::Plain(files) => files,
                Files::Merged(files) => files,
            }
        }
    }

    impl Overlay {
        /// What the command line asks for; nothing is made yet.
        ///
        /// # Errors
        /// There can be none, or somebody uses it.
        pub(in crate::cli) fn asked(arguments: &Run) -> anyhow::Result<Overlay> {
            let Some(name) = &arguments.overlay else { return Ok(Overlay(None)) };
            let person = crate::host::person()?;
            Ok(Overlay(Some(match name.as_str() {
                "tmp" => overlay::Overlay::in_memory(&person),
                name => overlay::Overlay::named(&person, &name.parse()?)?,
            })))
        }

        /// The machine's files as the run will see them.
        pub(in crate::cli) fn files(&self) -> Files {
            match &self.0 {
                None => Files::Plain(ProbedFiles),
                Some(overlay) => Files::Merged(overlay.files()),
            }
        }

        /// What applies the plan: with an overlay, fence itself.
        ///
        /// # Errors
        /// Something else is asked for.
        pub(in crate::cli) fn backend(&self, asked: BackendName) -> anyhow::Result<BackendName> {
            match (&self.0, asked) {
                (None, asked) => Ok(asked),
                (Some(_), BackendName::Auto | BackendName::Native) => Ok(BackendName::Native),
                (Some(_), BackendName::Bwrap) => bail!(
                    "`--overlay` is not made with bubblewrap: what of its layers would be seen where is not what the plan says; leave `--backend` out"
                ),
                (Some(_), BackendName::Landlock) => bail!(
                    "`--overlay` is not there with Landlock alone: it has no file tree of its own, so every write reaches the host; leave `--backend` out"
                ),
            }
        }

        /// Puts it under what the plan lets be written.
        ///
        /// # Errors
        /// Something cannot be under a layer.
        pub(in crate::cli) fn put_under(&self, plan: &mut Plan) -> anyhow::Result<()> {
            if let Some(overlay) = &self.0 {
                *plan = overlay.under(plan.clone())?;
            }
            Ok(())
        }

        /// Tells where writes go.
        pub(in crate::cli) fn tell(&self, screen: Screen) {
            match self.0.as_ref().map(overlay::Overlay::name) {
                None => {}
                Some(None) => screen.note("what is written goes to an overlay, and is gone at the end"),
                Some(Some(name)) => screen.note(&format!(
                    "what is written goes to the overlay `{0}` (fence overlay diff {0})",
                    name.as_str()
                )),
            }
        }

        /// Makes the folders of what is kept.
        ///
        /// # Errors
        /// They cannot be made.
        pub(in crate::cli) fn make(&mut self, plan: &Plan) -> anyhow::Result<()> {
            Ok(self.0.as_mut().map_or(Ok(()), |overlay| overlay.make(plan))?)
        }

        /// Looks at what the host has where the run has written.
        ///
        /// # Errors
        /// Something cannot be looked at.
        pub(in crate::cli) fn record(&self, plan: &Plan) -> anyhow::Result<()> {
            Ok(self.0.as_ref().map_or(Ok(()), |overlay| overlay.record(plan))?)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use anyhow::bail;
    use fence_compiler::host;

    use crate::cli::arguments::{BackendName, Run};
    use crate::cli::own::Plan;
    use crate::cli::screen::Screen;
    use crate::host::ProbedFiles;

    /// There is none here.
    #[derive(Debug)]
    pub(in crate::cli) struct Overlay;

    /// The machine's files.
    #[derive(Debug)]
    pub(in crate::cli) struct Files(ProbedFiles);

    impl Files {
        pub(in crate::cli) fn seen(&mut self) -> &mut dyn host::Files {
            &mut self.0
        }
    }

    impl Overlay {
        /// Refuses what is asked for.
        ///
        /// # Errors
        /// It is asked for.
        pub(in crate::cli) fn asked(arguments: &Run) -> anyhow::Result<Overlay> {
            if arguments.overlay.is_some() {
                bail!(
                    "`--overlay` is there on Linux only: a profile of Seatbelt can refuse a write, and cannot send it elsewhere"
                );
            }
            Ok(Overlay)
        }

        pub(in crate::cli) fn files(&self) -> Files {
            Files(ProbedFiles)
        }

        pub(in crate::cli) fn backend(&self, asked: BackendName) -> anyhow::Result<BackendName> {
            Ok(asked)
        }

        pub(in crate::cli) fn put_under(&self, _: &mut Plan) -> anyhow::Result<()> {
            Ok(())
        }

        pub(in crate::cli) fn tell(&self, _: Screen) {}

        pub(in crate::cli) fn make(&mut self, _: &Plan) -> anyhow::Result<()> {
            Ok(())
        }

        pub(in crate::cli) fn record(&self, _: &Plan) -> anyhow::Result<()> {
            Ok(())
        }
    }
}
