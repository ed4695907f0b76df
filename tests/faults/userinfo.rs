//! Userinfo from a server that signs it, and from one that answers for somebody else.

use serde_json::json;

use super::refresh::SAMPLE_ID_TOKEN;
use super::world::{Answer, World, json_answer, session_record};

async fn userinfo(answer: Answer) -> gatepass::Result<gatepass::Userinfo> {
    let world = World::signed_in();
    let mut record = session_record();
    record["claims"] = json!({ "sub": "248289761001" });
    world.disk.write(&record);
    let session = world.session().await;
    world.net.answer([answer]);
    let outcome = session.userinfo().await;
    assert_eq!(world.net.sent_to("/userinfo").len(), 1);
    assert!(session.peek().is_some(), "whatever it says, the session goes on");
    outcome
}

#[tokio::test]
async fn oc_52_oc_53_signed_userinfo_is_verified_with_the_keys_of_the_server() {
    // The sample is an ID token; as signed userinfo it has all that it needs: sub, iss and aud.
    let signed = |token: String| Answer::Http(200, "application/jwt", token);
    let info = userinfo(signed(SAMPLE_ID_TOKEN.to_owned())).await.unwrap();
    assert_eq!(info.get("sub").unwrap(), "248289761001");
    let (input, _) = SAMPLE_ID_TOKEN.rsplit_once('.').unwrap();
    for (token, code) in [
        (format!("{input}.AAAA"), "userinfo_signature"),
        (
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiIyNDgyODk3NjEwMDEifQ.".to_owned(),
            "userinfo_algorithm",
        ),
        ("<html>".to_owned(), "jws_malformed"),
    ] {
        assert_eq!(
            userinfo(signed(token.clone())).await.unwrap_err().code(),
            code,
            "{token}"
        );
    }
}

#[tokio::test]
async fn oc_51_userinfo_about_somebody_else_is_not_used() {
    let error = userinfo(json_answer(200, json!({ "sub": "bob" })))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "userinfo_subject");
    let info = userinfo(json_answer(200, json!({ "sub": "248289761001", "name": "A" }))).await;
    assert_eq!(info.unwrap().get("name").unwrap(), "A");
}
