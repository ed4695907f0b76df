//! What a request and an answer tell when they are printed.

use ::http::HeaderValue;

use super::*;

#[test]
fn printing_shows_no_query_no_header_and_no_body() {
    let url = Url::parse("https://user:password@api.example.com/path?code=q-secret#f-secret").unwrap();
    let mut request = HttpRequest::new(Method::POST, url);
    request
        .headers
        .insert("authorization", HeaderValue::from_static("Bearer h-secret"));
    request.body = Zeroizing::new(b"refresh_token=b-secret".to_vec());
    let mut headers = HeaderMap::new();
    headers.insert("set-cookie", HeaderValue::from_static("sid=h-secret"));
    let response = HttpResponse::new(StatusCode::OK, headers, b"b-secret".to_vec());
    let printed = format!("{request:?} {request:#?} {response:?} {response:#?}");
    for secret in ["secret", "password", "user"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(
        printed.contains("api.example.com") && printed.contains("/path"),
        "{printed}"
    );
}
