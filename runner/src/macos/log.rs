//! Watching the system's log for what the profile of a run refused.

use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;

use fence_compiler::profile::SeatbeltPlan;
use serde::Deserialize;

use super::follow::Happened;
use super::line::denial;
use super::lines::Lines;
use super::{failed, path};
use crate::launch::Error;

/// `log stream`, which is started only where somebody asked to see refusals; it ends when this is dropped, and what it
/// had written is still sent.
#[derive(Debug)]
pub(super) struct Watch {
    child: Child,
}

/// One line of `log stream --style ndjson`.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "eventMessage")]
    message: String,
}

impl Watch {
    /// Begins to watch; each refusal of the run is sent as it comes, and then that the log has ended.
    ///
    /// # Errors
    /// `log` cannot be started.
    pub(super) fn start(plan: &SeatbeltPlan, happened: SyncSender<Happened>) -> Result<Watch, Error> {
        // The run's name holds only digits, so it cannot change the predicate.
        let predicate = format!("eventMessage CONTAINS \"fence:{}:\"", plan.run);
        let mut child = Program::new(path(plan.tools.log.as_bytes()))
            .args(["stream", "--style", "ndjson", "--predicate", &predicate])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed("start", &plan.tools.log, &error))?;
        let run = plan.run.clone();
        let output = child.stdout.take();
        thread::spawn(move || {
            for line in output.into_iter().flat_map(Lines::new) {
                // The first line says what is filtered for and is no JSON; others may hold anything.
                let line = serde_json::from_slice::<Line>(&line).ok();
                let found = line.and_then(|line| denial(&line.message, &run));
                if let Some(found) = found
                    && happened.send(Happened::Refused(found)).is_err()
                {
                    return;
                }
            }
            // Nobody listens any more where the run is over.
            let _ = happened.send(Happened::LogEnded);
        });
        Ok(Watch { child })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
