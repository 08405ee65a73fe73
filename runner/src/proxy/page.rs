//! What a client of HTTP is told, for a person and for programs.

use bytes::Bytes;
use fence_compiler::policy::Policy;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, PROXY_AUTHENTICATE};
use hyper::{Response, StatusCode};

use super::dial::Failure;
use super::head::Fault;
use super::refusal::Refusal;
use crate::audit::visible;

/// What was refused: its action and item.
const REFUSED: HeaderName = HeaderName::from_static("x-fence-refused");
/// A rule that refused it, its file, line and label.
const RULE: HeaderName = HeaderName::from_static("x-fence-rule");
/// Why, in a line.
const REASON: HeaderName = HeaderName::from_static("x-fence-reason");
/// Why an allowed connection could not be made.
const FAILED: HeaderName = HeaderName::from_static("x-fence-failed");

/// A refusal by the policy.
pub(super) fn refused(policy: &Policy, refusal: &Refusal) -> Response<Full<Bytes>> {
    let what = format!("{} {}", refusal.action, visible(&refusal.item));
    let reasons = refusal.reasons(policy);
    let mut text = format!("fence refused this: the policy of this sandbox does not allow it\n\n  {what}\n");
    for reason in &reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    if let Some(remedy) = refusal.remedy(policy) {
        text.push_str(&format!("\n{remedy}\n"));
    }
    let mut response = page(StatusCode::FORBIDDEN, text);
    let headers = response.headers_mut();
    headers.insert(REFUSED, value(&what));
    for rule in refusal.rules(policy) {
        headers.append(RULE, value(&rule.told()));
    }
    if let Some(reason) = reasons.first() {
        headers.insert(REASON, value(reason));
    }
    response
}

/// A request that is not written in the one plain form.
pub(super) fn broken(fault: Fault) -> Response<Full<Bytes>> {
    let mut response =
        page(StatusCode::BAD_REQUEST, format!("fence refused this: the request is broken\n\n  {fault}\n"));
    response.headers_mut().insert(REASON, value(&fault.to_string()));
    response
}

/// A request without the credential of the run.
pub(super) fn unknown() -> Response<Full<Bytes>> {
    let text = "fence refused this: the proxy serves one run, and the request does not show its credential; \
                the proxy variables of the run's environment hold it\n";
    let mut response = page(StatusCode::PROXY_AUTHENTICATION_REQUIRED, text.to_owned());
    response.headers_mut().insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"fence\""));
    response
}

/// A connection that is allowed and cannot be made.
pub(super) fn failed(item: &str, failure: &Failure) -> Response<Full<Bytes>> {
    let status = match failure {
        Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let problem = visible(&failure.to_string());
    let mut response = page(status, format!("fence allows {}, but {problem}\n", visible(item)));
    response.headers_mut().insert(FAILED, value(&problem));
    response
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // The request may have a body that nobody wants to read.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A text as a header's value: ASCII, in one line.
fn value(text: &str) -> HeaderValue {
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        if c == ' ' || c.is_ascii_graphic() { ascii.push(c) } else { ascii.extend(c.escape_default()) }
    }
    HeaderValue::from_str(&ascii).unwrap_or_else(|_| HeaderValue::from_static("-"))
}
