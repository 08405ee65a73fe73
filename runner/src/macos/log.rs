//! Watching the system's log for what the profile of a run refused.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fence_compiler::profile::SeatbeltPlan;
use serde::Deserialize;

use super::line::{Denial, denial};
use super::{failed, path};
use crate::launch::Error;

/// How long the last lines are waited for after the command has ended: the log is written by another process.
const LAST: Duration = Duration::from_millis(500);

/// `log stream`, which is started only where somebody asked to see refusals.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    found: Receiver<Denial>,
    reader: Option<JoinHandle<()>>,
}

/// One line of `log stream --style ndjson`.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "eventMessage")]
    message: String,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// `log` cannot be started.
    pub fn start(plan: &SeatbeltPlan) -> Result<Watch, Error> {
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
        let (found, receiver) = mpsc::channel();
        let run = plan.run.clone();
        let output = child.stdout.take();
        let reader = thread::spawn(move || {
            let Some(output) = output else { return };
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { return };
                // The first line says what is filtered for and is no JSON.
                let Ok(line) = serde_json::from_slice::<Line>(&line) else { continue };
                if let Some(denial) = denial(&line.message, &run)
                    && found.send(denial).is_err()
                {
                    return;
                }
            }
        });
        Ok(Watch { child, found: receiver, reader: Some(reader) })
    }

    /// What was seen since the last time, without waiting.
    pub fn seen(&self) -> Vec<Denial> {
        self.found.try_iter().collect()
    }

    /// Waits for the next; `None` once `log` has ended.
    pub fn wait(&self) -> Option<Denial> {
        self.found.recv().ok()
    }

    /// Ends watching, and tells what was still on its way.
    pub fn end(mut self) -> Vec<Denial> {
        let until = Instant::now() + LAST;
        let mut last = Vec::new();
        while let Ok(denial) = self.found.recv_timeout(until.saturating_duration_since(Instant::now())) {
            last.push(denial);
        }
        self.stop();
        last.extend(self.found.try_iter());
        last
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}
