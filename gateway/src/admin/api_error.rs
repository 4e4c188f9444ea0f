//! Errors as HTTP responses. The status is decided here and nowhere else.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::fault::{Fault, Faulty, Retry, Who};
use crate::operations::{self, Problem};

use super::json::Json;

/// An error response: its status, and a problem as JSON.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    problem: Problem,
}

impl ApiError {
    /// From an error of the library.
    #[must_use]
    pub fn of(error: &impl Faulty) -> Self {
        let fault = error.fault();
        Self::new(status(&fault), fault.who, &error.to_string(), fault.help())
    }

    /// 409: no reload is possible any more.
    pub(super) fn stopping() -> Self {
        let error =
            "the gateway is stopping, or was started without a way to read its configuration again";
        Self::request_error(StatusCode::CONFLICT, error, "start it again")
    }

    /// 503: too many authenticated requests at a time.
    pub(super) fn busy() -> Self {
        let error = "too many requests are being answered";
        Self::request_error(StatusCode::SERVICE_UNAVAILABLE, error, "ask again later")
    }

    /// 409: this gateway has no keys.
    pub(super) fn no_keys() -> Self {
        let error = "the gateway relays only, or is stopping: it has no keys";
        Self::request_error(StatusCode::CONFLICT, error, "start it without `relay-only`")
    }

    /// 422: the configuration is not valid.
    pub(super) const fn unprocessable(problem: Problem) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            problem,
        }
    }

    /// What is wrong, what would help, and who has to act.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        self.problem
    }

    /// An error of the caller's request.
    pub(super) fn request_error(status: StatusCode, error: &str, help: &str) -> Self {
        Self::new(status, Who::Client, error, help)
    }

    fn new(status: StatusCode, who: Who, error: &str, help: &str) -> Self {
        Self {
            status,
            problem: Problem {
                error: error.to_owned(),
                help: help.to_owned(),
                who: <&str>::from(who).to_owned(),
                mistakes: Vec::new(),
            },
        }
    }
}

impl From<operations::Error> for ApiError {
    fn from(error: operations::Error) -> Self {
        Self::of(&error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.problem)).into_response()
    }
}

/// Maps who must act to a status: 4xx for the caller, 5xx for us and those we depend on; 503 where a retry may help.
const fn status(fault: &Fault) -> StatusCode {
    match (fault.who, fault.retry) {
        (Who::Client, _) => StatusCode::BAD_REQUEST,
        (Who::Operator, Retry::Never) => StatusCode::UNPROCESSABLE_ENTITY,
        (Who::Operator, Retry::Later) | (Who::Custodian, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Who::Server, _) => StatusCode::BAD_GATEWAY,
        (Who::Internal, _) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
