//! Whether the plan answers as the policy does.
