// The activity under the browser. It has no face, and follows the orders of its visit.

package io.gatepass.android

import android.app.Activity
import android.content.Context
import android.content.Intent
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import android.os.SystemClock
import io.gatepass.BrowserFailure

/**
 * Stands between the app and the browser: it starts the one, and is what the user comes back to. The app's manifest gets it
 * from this library.
 */
public class BrowserActivity : Activity() {
    private val visits = Visits.ofThisProcess
    private val later = Handler(Looper.getMainLooper())
    private val graceOver = Runnable { follow(visit?.graceOver()) }
    private var visit: Visit? = null
    private var name: String = ""

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        take(intent, savedInstanceState?.getInt(POSITION, -1) ?: -1)
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        if (intent.action == ACTION_CLOSE) {
            // Without a name: what a process of before left open.
            val which = intent.getStringExtra(NAME)
            if (which == null || which == name) close()
            return
        }
        setIntent(intent)
        take(intent, -1)
    }

    private fun take(intent: Intent?, position: Int) {
        val steps = intent?.let(::stepsOf)
        if (intent?.action != ACTION_VISIT || steps.isNullOrEmpty() || intent.data == null) {
            close()
            return
        }
        name = intent.getStringExtra(NAME).orEmpty()
        visit = Visit(steps, Build.MANUFACTURER.orEmpty(), position, SystemClock.elapsedRealtime())
    }

    override fun onResume() {
        super.onResume()
        follow(visit?.resumed())
    }

    override fun onPause() {
        later.removeCallbacks(graceOver)
        visit?.paused()
        super.onPause()
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        visit?.let { outState.putInt(POSITION, it.position()) }
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        super.onActivityResult(requestCode, resultCode, data)
        if (requestCode != AUTH_TAB) return
        follow(visit?.result(resultCode, data?.data?.toString(), SystemClock.elapsedRealtime()))
    }

    override fun onDestroy() {
        // Closed from outside, before there was anything to say.
        if (isFinishing && visit != null) visits.end(name, BrowserFailure(BrowserFailure.Reason.CANCELLED))
        super.onDestroy()
    }

    private fun follow(order: Order?) {
        when (order) {
            null, Order.Nothing -> {}
            is Order.Launch -> launch(order.step)
            is Order.Wait -> {
                later.removeCallbacks(graceOver)
                later.postDelayed(graceOver, order.millis)
            }
            is Order.Redirect -> {
                visits.cameBack(name, order.url)
                close()
            }
            is Order.End -> {
                visits.end(name, failure(order.end))
                close()
            }
        }
    }

    private fun failure(end: VisitEnd): BrowserFailure = when (end) {
        VisitEnd.CANCELLED -> BrowserFailure(BrowserFailure.Reason.CANCELLED)
        VisitEnd.NO_BROWSER -> BrowserFailure(BrowserFailure.Reason.NO_BROWSER)
        VisitEnd.NOT_ASSOCIATED -> {
            val redirect = Redirect.of(intent.getStringExtra(REDIRECT).orEmpty()) ?: Redirect.NONE
            refusal(Ladder.HostNotVerified, redirect)
        }
    }

    private fun launch(step: Step) {
        val page = intent.data ?: return close()
        val redirect = Redirect.of(intent.getStringExtra(REDIRECT).orEmpty()) ?: Redirect.NONE
        val browser = Intent(Intent.ACTION_VIEW, page).setPackage(step.packageName)
        if (step.rung != Rung.BROWSER) {
            // A binder, present and null, is what tells a tab from a page.
            browser.putExtras(Bundle().apply { putBinder(TAB_SESSION, null) })
        }
        try {
            if (step.rung == Rung.AUTH_TAB) {
                browser.putExtra(LAUNCH_AUTH_TAB, true)
                if (redirect.kind == RedirectKind.CLAIMED_HTTPS) {
                    browser.putExtra(AUTH_TAB_HOST, redirect.host).putExtra(AUTH_TAB_PATH, redirect.path)
                } else {
                    browser.putExtra(AUTH_TAB_SCHEME, redirect.scheme)
                }
                startActivityForResult(browser, AUTH_TAB)
            } else {
                startActivity(browser)
            }
            visit?.started(SystemClock.elapsedRealtime())
        } catch (e: RuntimeException) {
            // Gone since it was asked, or not for us.
            follow(visit?.notStarted())
        }
    }

    private fun close() {
        visit = null
        later.removeCallbacks(graceOver)
        finish()
    }

    internal companion object {
        private const val AUTH_TAB = 1
        private const val ACTION_VISIT = "io.gatepass.android.VISIT"
        private const val ACTION_CLOSE = "io.gatepass.android.CLOSE"
        private const val NAME = "name"
        private const val REDIRECT = "redirect"
        private const val RUNGS = "rungs"
        private const val PACKAGES = "packages"
        private const val POSITION = "position"
        private const val TAB_SESSION = "android.support.customtabs.extra.SESSION"
        private const val LAUNCH_AUTH_TAB = "androidx.browser.auth.extra.LAUNCH_AUTH_TAB"
        private const val AUTH_TAB_SCHEME = "androidx.browser.auth.extra.REDIRECT_SCHEME"
        private const val AUTH_TAB_HOST = "androidx.browser.auth.extra.HTTPS_REDIRECT_HOST"
        private const val AUTH_TAB_PATH = "androidx.browser.auth.extra.HTTPS_REDIRECT_PATH"

        fun visit(context: Context, name: String, url: String, redirect: Redirect, steps: List<Step>): Intent =
            Intent(context, BrowserActivity::class.java)
                .setAction(ACTION_VISIT)
                .setData(Uri.parse(url))
                .putExtra(NAME, name)
                .putExtra(REDIRECT, redirect.text)
                .putExtra(RUNGS, steps.map { it.rung.name }.toTypedArray())
                .putExtra(PACKAGES, steps.map { it.packageName }.toTypedArray())
                // A tab of a visit before is closed with this.
                .addFlags(Intent.FLAG_ACTIVITY_CLEAR_TOP or Intent.FLAG_ACTIVITY_SINGLE_TOP)

        /** Closes the browser over the activity, and the activity. Without a name: of whatever visit, where nobody waits for one. */
        fun close(context: Context, name: String?): Intent =
            Intent(context, BrowserActivity::class.java)
                .setAction(ACTION_CLOSE)
                .putExtra(NAME, name)
                .addFlags(Intent.FLAG_ACTIVITY_CLEAR_TOP or Intent.FLAG_ACTIVITY_SINGLE_TOP)

        private fun stepsOf(intent: Intent): List<Step> {
            val rungs = intent.getStringArrayExtra(RUNGS) ?: return emptyList()
            val packages = intent.getStringArrayExtra(PACKAGES) ?: return emptyList()
            return rungs.zip(packages).mapNotNull { (rung, name) ->
                Rung.values().firstOrNull { it.name == rung }?.let { Step(it, name) }
            }
        }
    }
}
