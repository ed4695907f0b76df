// A desktop program, for tests/interop: signs in at a certified server through a real browser, and tells how it went, one
// JSON object a line.

package io.gatepass

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import okhttp3.OkHttpClient
import okhttp3.Request

/** Arguments: issuer, client id, a folder for the session, and `built-in` or `okhttp`. */
fun main(arguments: Array<String>) = runBlocking {
    val (issuer, clientId, folder, http) = arguments
    val gatepass = Gatepass("com.example.interop", issuer, clientId, api = issuer) {
        scopes = listOf("openid", "profile", "offline_access")
        allowHttpOnLoopback(AllowHttpOnLoopback)
        storage = SessionStorage.encryptedFiles(folder, FileKey.besideTheRecords())
        if (http == "okhttp") transport = OkHttpTransport()
        // The person of the test reads the URL and opens it.
        browser = object : Browser {
            override suspend fun open(url: String, redirectUri: String): String? {
                println("""{"event":"authorization_url","url":"$url"}""")
                return null
            }
        }
    }
    val found = gatepass.session()
    val session = found ?: gatepass.signIn()
    println("""{"event":"${if (found == null) "signed_in" else "found"}","subject":"${session.claims!!.subject}"}""")

    if (found == null) {
        val before = session.accessToken()
        // Twenty at once are one request.
        (1..20).map { async(Dispatchers.Default) { session.refresh() } }.awaitAll()
        println("""{"event":"refreshed","changed":${session.accessToken() != before}}""")
    } else {
        val client = OkHttpClient.Builder().addInterceptor(session.interceptor()).build()
        val me = client.newCall(Request.Builder().url("$issuer/me").build()).execute()
        println("""{"event":"api_call","status":${me.use { it.code }}}""")
        println("""{"event":"userinfo","claims":${session.userinfoJson()}}""")
        val signedOut = session.signOut()
        println("""{"event":"signed_out","revocation":"${signedOut.revocation}","state":"${gatepass.state.value}"}""")
    }
    gatepass.drain()
    gatepass.close()
}
