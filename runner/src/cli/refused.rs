//! What was refused in a run, in short at its end.

use super::screen::Screen;
use crate::audit::{Event, EventSource};
use crate::proxy::Summary;

/// The most refusals that are told at the end.
const MOST_TOLD: usize = 5;

/// Tells what was refused: the most frequent first, each with what would allow it.
pub(super) fn tell(summary: &Summary, screen: Screen) {
    for refused in summary.refused.iter().take(MOST_TOLD) {
        let mut text = refused.told.clone();
        if refused.times > 1 {
            text.push_str(&format!(" ({} times)", refused.times));
        }
        if let Some(remedy) = &refused.remedy {
            text.push_str(&format!("\n  {remedy}"));
        }
        screen.note(&text);
    }
    let further = summary.refused.len().saturating_sub(MOST_TOLD);
    if further > 0 {
        screen.note(&format!("{further} more were refused; `--log FILE` tells each of them"));
    }
    if summary.beyond > 0 {
        screen.note(&Event::further(EventSource::Fence, summary.beyond).told());
    }
}
