//! `config`: options override the environment, which overrides the file.

use crate::support::{World, fields, stderr, stdout};

#[test]
fn what_is_in_effect_and_where_it_is_from() {
    let world = World::new();
    let path = world.path("config.toml");
    std::fs::write(
        &path,
        "[profiles.default]\nissuer = 'https://file.example'\nclient_id = 'file-app'\nscope = ['openid', 'email']\n\
         redirect = 'com.example.file:/cb'\nstore = 'file:below'\n",
    )
    .unwrap();
    let output = world
        .gatepass(&["config", "--json", "--redirect", "com.example.flag:/cb"])
        .env("GATEPASS_CONFIG", &path)
        .env("GATEPASS_CLIENT_ID", "env-app")
        .env("GATEPASS_REDIRECT", "com.example.env:/cb")
        .env_remove("GATEPASS_STORE")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let config: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        fields(&config),
        ["event", "exists", "path", "profiles", "settings"]
    );
    let settings = &config["settings"];
    assert_eq!(
        fields(settings),
        [
            "allow_http_on_loopback",
            "android_package",
            "api",
            "apple_app_id",
            "client_id",
            "fingerprint",
            "issuer",
            "keychain_group",
            "post_logout_redirect",
            "profile",
            "redirect",
            "scope",
            "store"
        ]
    );
    for (name, value, source) in [
        ("profile", "default", "default"),
        ("issuer", "https://file.example", "profile"),
        ("client_id", "env-app", "environment"),
        ("redirect", "com.example.flag:/cb", "flag"),
    ] {
        assert_eq!(settings[name]["value"], value);
        assert_eq!(settings[name]["source"], source, "{name}");
    }
    let store = format!("file:{}", world.path("below").display());
    assert_eq!(settings["store"]["value"], store.as_str());
    let text = world
        .gatepass(&["config"])
        .env("GATEPASS_CONFIG", &path)
        .output()
        .unwrap();
    let text = stdout(&text);
    for part in ["config.toml", "profile default", "GATEPASS_STORE", "file-app"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_file_to_begin_with_is_never_written_over_unasked() {
    let world = World::new();
    let written = world.one(&["config", "init"]);
    assert_eq!(written["event"], "config_written");
    let path = written["path"].as_str().unwrap();
    assert!(path.ends_with("config.toml"), "{path}");
    assert_eq!(world.one(&["config"])["exists"], true);
    std::fs::write(path, "# mine\n").unwrap();
    assert_eq!(world.error(2, &["config", "init"])["code"], "config_unwritable");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "# mine\n");
    world.one(&["config", "init", "--force"]);
    assert!(std::fs::read_to_string(path).unwrap().contains("[profiles.work]"));
}

#[test]
fn a_file_that_is_wrong_is_told_with_its_line() {
    let world = World::new();
    let path = world.path("config.toml");
    let named = path.to_str().unwrap();
    assert_eq!(
        world.error(2, &["status", "--config", named])["code"],
        "config_unreadable"
    );
    std::fs::write(&path, "[profiles.a]\nclient_secret = 'canary-of-a-secret'\n").unwrap();
    let output = world.expect(2, &["status", "--json", "--config", named]);
    assert!(stdout(&output).contains("line 2") && stdout(&output).contains("client_secret"));
    assert!(!(stdout(&output) + &stderr(&output)).contains("canary-of-a-secret"));
    std::fs::write(&path, "[profiles.a]\n").unwrap();
    let error = world.error(2, &["status", "--config", named, "--profile", "b"]);
    assert_eq!(error["code"], "no_such_profile");
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert_eq!(
        world.error(2, &["status", "--config", named])["code"],
        "config_unreadable"
    );
}
