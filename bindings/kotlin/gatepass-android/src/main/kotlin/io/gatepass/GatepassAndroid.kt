// For Android: what the platform has.

@file:JvmName("GatepassAndroid")

package io.gatepass

import android.app.Activity
import android.content.Context
import android.os.SystemClock
import io.gatepass.android.AndroidBrowser
import io.gatepass.android.AndroidKeyPlace
import io.gatepass.android.KeystoreWrap
import io.gatepass.android.Platform
import io.gatepass.android.Redirect
import io.gatepass.android.UrlConnectionTransport
import io.gatepass.android.Visits
import java.io.File
import java.lang.ref.WeakReference
import java.util.concurrent.CompletableFuture
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.launch

/**
 * A client for an Android app: the browser of the device, HTTP of the platform, and sessions in sealed files whose key is
 * wrapped by the Android Keystore.
 *
 * ```
 * val gatepass = Gatepass(context, issuer = "https://login.example.com", clientId = "my-app",
 *     redirect = "https://app.example.com/callback", api = "https://api.example.com")
 * ```
 *
 * Make one, in `Application.onCreate` or where the app makes its other singletons, and keep it: a sign-in whose process was
 * stopped behind the browser goes on as soon as there is one. Checks the configuration, and asks neither network nor storage;
 * the first one of a process loads the native library. Called from Java as `GatepassAndroid.create`.
 *
 * @param context any; the application's is kept.
 * @param issuer the issuer, exactly as the server's operator names it.
 * @param clientId the client id.
 * @param redirect the redirect URI, as registered: a claimed https URL whose host names this app in `assetlinks.json`.
 * @param api the origin of the API that tokens may be sent to. For several, [GatepassConfig.api].
 * @param configure all else.
 * @throws GatepassException.Configuration if something in it cannot work, with a text that says what to write instead.
 */
@JvmName("create")
@JvmOverloads
public fun Gatepass(
    context: Context,
    issuer: String,
    clientId: String,
    redirect: String,
    api: String? = null,
    configure: GatepassConfig.() -> Unit = {},
): Gatepass {
    val app = context.applicationContext ?: context
    val platform = Platform(app)
    val config = GatepassConfig(issuer, clientId)
    config.redirect = redirect
    config.transport = UrlConnectionTransport()
    config.storage = SessionStorage.wrapped(
        File(app.noBackupFilesDir, "gatepass").path,
        KeystoreWrap(AndroidKeyPlace(app), offMainThread = platform::assertOffMainThread),
    )
    config.tokenClock = AndroidClock
    api?.let { config.api(it) }
    config.configure()
    if (config.browser == null) {
        config.browser = AndroidBrowser(app, platform, Visits.ofThisProcess, config.schemeMayBeHijacked)
    }
    return Gatepass(config).also { takesRedirects(it, listOfNotNull(config.redirect, config.postLogoutRedirect)) }
}

/**
 * Signs the user in over this activity: [Gatepass.signIn], with the browser in the activity's task.
 *
 * A user who comes back without signing in is [GatepassException.Cancelled]. Missing or wrong links are found before a browser
 * is opened: [GatepassException.Configuration] has the intent filter to paste, [GatepassException.AssociationMissing] says
 * what to look at.
 *
 * @throws GatepassException of nearly every kind; a session that is stored stays as it was.
 */
public suspend fun Gatepass.signIn(activity: Activity, options: SignInOptions = SignInOptions()): Session {
    (browser as? AndroidBrowser)?.from(activity)
    return signIn(options)
}

/** [signIn] over an activity, for Java. */
@JvmOverloads
public fun Gatepass.signInFuture(
    activity: Activity,
    options: SignInOptions = SignInOptions(),
): CompletableFuture<Session> {
    (browser as? AndroidBrowser)?.from(activity)
    return signInFuture(options)
}

/** A clock that counts sleep, and one that the user can set. */
private object AndroidClock : TokenClock {
    override fun nanoTime(): Long = SystemClock.elapsedRealtimeNanos()

    override fun currentTimeMillis(): Long = System.currentTimeMillis()
}

private val resuming = CoroutineScope(SupervisorJob() + Dispatchers.Default)

/** Redirects that come into a new process, or without a `state` that anybody shows, are this client's to judge. */
private fun takesRedirects(gatepass: Gatepass, uris: List<String>) {
    val kept = WeakReference(gatepass)
    val targets = uris.mapNotNull(Redirect::of)
    val client = object : Visits.Client {
        override val redirects: List<Redirect> = targets

        override fun resume(url: String) {
            val client = kept.get() ?: return
            resuming.launch {
                try {
                    client.resumeSignIn(url)
                } catch (e: GatepassException) {
                    // Whoever waits for the sign-in is told; else it shows in the state, or was nobody's redirect.
                } catch (e: IllegalStateException) {
                    // Closed meanwhile.
                }
            }
        }
    }
    Visits.ofThisProcess.add { client.takeIf { kept.get() != null } }
}
