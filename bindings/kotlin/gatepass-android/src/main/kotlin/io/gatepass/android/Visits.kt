// Where redirects go: to the visit that waits for them, or to whoever can finish a sign-in of an earlier process.

package io.gatepass.android

import io.gatepass.BrowserFailure
import java.util.UUID
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.CopyOnWriteArrayList
import kotlinx.coroutines.CompletableDeferred

/**
 * The visits of this process, and the clients that can finish what an earlier process began.
 *
 * A redirect is given to the visit that shows its `state`; where there is none, to every client whose redirect it is. So a
 * redirect that another app made up ends nothing: the core asks for the state of every one (RFC 6749 §10.12).
 */
internal class Visits {
    private class Waiting(val redirect: Redirect, val state: String?, val end: CompletableDeferred<String?>)

    /** A client, as long as the app keeps it. */
    internal interface Client {
        /** Its redirects. */
        val redirects: List<Redirect>

        /** Finishes a sign-in; nobody waits for it. Never throws. */
        fun resume(url: String)
    }

    private val waiting = ConcurrentHashMap<String, Waiting>()
    private val clients = CopyOnWriteArrayList<() -> Client?>()
    private val early = ArrayDeque<String>()

    /** Begins a visit: its name, which no other process gives, and what it comes to: the redirect, or `null` where it went to a client. */
    fun begin(url: String, redirect: Redirect): Pair<String, CompletableDeferred<String?>> {
        val name = UUID.randomUUID().toString()
        val end = CompletableDeferred<String?>()
        waiting[name] = Waiting(redirect, stateOf(url), end)
        end.invokeOnCompletion { waiting.remove(name) }
        return name to end
    }

    /** Whether somebody still waits for the visit: not in a new process, and not after it was called off. */
    fun isWaitedFor(name: String): Boolean = waiting.containsKey(name)

    /** Whether anybody waits for any visit. */
    fun isAnybodyWaiting(): Boolean = waiting.isNotEmpty()

    fun end(name: String, failure: BrowserFailure) {
        waiting[name]?.end?.completeExceptionally(failure)
    }

    /** A client is there. What came before it was made is its own. */
    fun add(client: () -> Client?) {
        val made = client() ?: return
        val mine = synchronized(early) {
            clients.removeAll { it() == null }
            clients += client
            val mine = early.filter { url -> made.redirects.any { it.isTargetOf(url) } }
            early.removeAll(mine)
            mine
        }
        mine.forEach(made::resume)
    }

    /** A redirect came in, from the browser or from anybody: the name of the visit that took it, if one did. */
    fun deliver(url: String): String? {
        val state = stateOf(url)
        val mine = waiting.entries.firstOrNull { (_, visit) ->
            state != null && visit.state == state && visit.redirect.isTargetOf(url)
        }
        if (mine != null && mine.value.end.complete(url)) return mine.key
        val takers = synchronized(early) {
            val takers = clients.mapNotNull { it() }.filter { client -> client.redirects.any { it.isTargetOf(url) } }
            if (takers.isEmpty()) {
                // A new process, whose app makes its client later.
                early += url
                while (early.size > MOST_EARLY) early.removeFirst()
            }
            takers
        }
        takers.forEach { it.resume(url) }
        return null
    }

    /**
     * The browser of this very visit came back with a redirect: whatever it shows, the visit is over, and its caller is told what the
     * core makes of it.
     */
    fun cameBack(name: String, url: String) {
        if (waiting[name]?.end?.complete(url) != true) deliver(url)
    }

    /** The `state` in a URL, of the authorization request or of the redirect. */
    private fun stateOf(url: String): String? {
        val query = url.substringBefore('#').substringAfter('?', "")
        val values = query.split('&').filter { it.startsWith("state=") }.map { it.substring(6) }
        // Two are an attack or a mistake, and the core's to refuse.
        return values.singleOrNull()?.takeIf { it.isNotEmpty() }
    }

    companion object {
        /** Any app can send them; the latest are kept. */
        private const val MOST_EARLY = 8

        /** Those of this process. */
        val ofThisProcess: Visits = Visits()
    }
}
