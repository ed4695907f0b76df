// The browser of Android, from the core's request to the activity that shows it.

package io.gatepass.android

import android.app.Activity
import android.content.Context
import android.content.Intent
import io.gatepass.Browser
import io.gatepass.BrowserFailure
import java.lang.ref.WeakReference
import kotlin.coroutines.cancellation.CancellationException

/** Opens pages in the browser of the device, by the first rung that this device has. */
internal class AndroidBrowser(
    context: Context,
    private val platform: Platform,
    private val visits: Visits,
    private val schemeMayBeHijacked: Boolean,
) : Browser {
    private val context = context.applicationContext ?: context

    /** Where the next visit begins, so that the browser stands in that task. */
    @Volatile
    private var from = WeakReference<Activity>(null)

    fun from(activity: Activity) {
        from = WeakReference(activity)
    }

    override suspend fun open(url: String, redirectUri: String): String? {
        val redirect = Redirect.of(redirectUri)
            ?: throw BrowserFailure(BrowserFailure.Reason.CONFIGURATION, "the redirect is no URI")
        checkDeclared(redirect, platform.answering(redirect))
        val ladder = ladder(platform.browsers(), redirect.kind, platform.hostState(redirect), schemeMayBeHijacked)
        val steps = (ladder as? Ladder.Steps)?.steps ?: throw refusal(ladder, redirect)
        val (name, end) = visits.begin(url, redirect)
        try {
            start(BrowserActivity.visit(context, name, url, redirect, steps))
            return end.await()
        } catch (e: CancellationException) {
            // Nobody waits any more: the redirect came by another way, or the sign-in was called off.
            try {
                start(BrowserActivity.close(context, name))
            } catch (closing: BrowserFailure) {
                // It stays until the user closes it, and its redirect goes to the client.
            }
            throw e
        } finally {
            end.cancel()
        }
    }

    private fun start(intent: Intent) {
        val activity = from.get()?.takeIf { !it.isFinishing && !it.isDestroyed }
        try {
            (activity ?: context).startActivity(if (activity == null) intent.addFlags(Intent.FLAG_ACTIVITY_NEW_TASK) else intent)
        } catch (e: RuntimeException) {
            // Not from the background, says Android 10 and later, in several ways.
            throw BrowserFailure(BrowserFailure.Reason.FAILED)
        }
    }
}
