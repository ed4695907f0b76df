// For desktops: what the native library has built in.

@file:JvmName("GatepassJvm")

package io.gatepass

/**
 * A client for a desktop app: HTTP, browser, loopback redirect and keychain by the native library.
 *
 * ```
 * val gatepass = Gatepass("com.example.my-app", issuer = "https://login.example.com", clientId = "my-app",
 *     api = "https://api.example.com")
 * ```
 *
 * Checks the configuration, and does no I/O, but for encrypted files, which it opens. Called from Java as
 * `GatepassJvm.create`.
 *
 * @param appId a name of the app's own in reverse, `com.example.my-app`: by it the keychain tells apps apart. Sessions are
 *   kept in encrypted files whose key is in the keychain of the system, unless [configure] names another
 *   [storage][GatepassConfig.storage].
 * @param issuer the issuer, exactly as the server's operator names it.
 * @param clientId the client id.
 * @param redirect the redirect URI, as registered: for a desktop app nearly always the loopback one.
 * @param api the origin of the API that tokens may be sent to. For several, [GatepassConfig.api].
 * @param configure all else.
 * @throws GatepassException.Configuration if something in it cannot work, with a text that says what to write instead.
 */
@JvmName("create")
@JvmOverloads
public fun Gatepass(
    appId: String,
    issuer: String,
    clientId: String,
    redirect: String = "http://127.0.0.1/callback",
    api: String? = null,
    configure: GatepassConfig.() -> Unit = {},
): Gatepass {
    val config = GatepassConfig(issuer, clientId)
    config.redirect = redirect
    config.storage = SessionStorage.keychain(appId)
    api?.let { config.api(it) }
    config.configure()
    return Gatepass(config)
}
