// Where redirects come in that a browser does not hand back itself.

package io.gatepass.android

import android.app.Activity
import android.os.Bundle

/**
 * Takes the redirect of a sign-in, in this process or in a new one, and is gone again. The app's manifest declares it with the
 * one intent filter for its redirect.
 *
 * Any app can start it with any URL: what is not the answer to a sign-in of this device ends nothing.
 */
public class RedirectActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        // Browsers have been seen to send an intent with nothing in it.
        val url = intent?.data?.toString()
        if (url != null && savedInstanceState == null) {
            val visits = Visits.ofThisProcess
            val visit = visits.deliver(url)
            // The browser of a visit goes with its redirect, and what a process of before left open with any. The browser of
            // another visit stays: this may be anybody's URL, and the core closes it when it has taken the redirect.
            if (visit != null || !visits.isAnybodyWaiting()) startActivity(BrowserActivity.close(this, visit))
        }
        finish()
    }
}
