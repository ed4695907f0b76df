// What Android knows, asked with the guards that its levels need.

package io.gatepass.android

import android.content.Context
import android.content.Intent
import android.content.pm.ApplicationInfo
import android.content.pm.PackageManager
import android.content.pm.ResolveInfo
import android.net.Uri
import android.os.Build
import android.os.Looper

/** The levels at which something begins, by what begins there. Each is asked about here and nowhere else. */
internal object Level {
    /** The oldest that is supported. */
    const val OLDEST: Int = 24

    /** `DomainVerificationManager`: whether a host is verified for this app. */
    const val DOMAIN_VERIFICATION: Int = 31

    /** `android.security.KeyStoreException` says whether a trouble of the keystore passes. */
    const val KEYSTORE_SAYS_WHY: Int = 33

    fun has(level: Int): Boolean = Build.VERSION.SDK_INT >= level
}

/** Browsers, links and the app's manifest, as this device sees them. Blocks: each is a call to the system. */
internal class Platform(context: Context) {
    private val context = context.applicationContext ?: context
    private val packages: PackageManager = context.packageManager

    /** Throws where an app is debugged and this is its main thread: users wait while that waits. */
    fun assertOffMainThread() {
        val debuggable = context.applicationInfo.flags and ApplicationInfo.FLAG_DEBUGGABLE != 0
        check(!debuggable || !isMainThread()) { "Gatepass blocks here, and this is the main thread" }
    }

    private fun isMainThread() = Looper.myLooper() == Looper.getMainLooper()

    /** Those that open any page; a browser that the manifest's `<queries>` hides is not among them. */
    fun browsers(): List<InstalledBrowser> {
        assertOffMainThread()
        val page = Intent(Intent.ACTION_VIEW, Uri.fromParts("https", "", null)).addCategory(Intent.CATEGORY_BROWSABLE)
        val default = packages.resolveActivity(page, PackageManager.MATCH_DEFAULT_ONLY)?.packageName()
        val services = packages.queryIntentServices(Intent(CUSTOM_TABS_SERVICE), PackageManager.GET_RESOLVED_FILTER)
        return packages.queryIntentActivities(page, PackageManager.MATCH_ALL or PackageManager.GET_RESOLVED_FILTER)
            .filter { opensEveryHost(it) }
            .mapNotNull { it.packageName() }
            .distinct()
            .map { name ->
                val tabs = services.filter { it.serviceInfo?.packageName == name }
                InstalledBrowser(
                    name,
                    isDefault = name == default,
                    customTabs = tabs.isNotEmpty(),
                    authTab = tabs.any { it.filter?.hasCategory(AUTH_TAB_CATEGORY) == true },
                )
            }
    }

    /** An app that has links of its own is no browser. */
    private fun opensEveryHost(found: ResolveInfo): Boolean {
        val filter = found.filter ?: return true
        return !filter.authoritiesIterator().let { it != null && it.hasNext() }
    }

    private fun ResolveInfo.packageName(): String? = activityInfo?.packageName

    /** Which activities of this app answer to a link to the redirect. */
    fun answering(redirect: Redirect): Answering {
        assertOffMainThread()
        val link = Intent(Intent.ACTION_VIEW, Uri.parse(redirect.text))
            .addCategory(Intent.CATEGORY_BROWSABLE)
            .setPackage(context.packageName)
        val found = packages.queryIntentActivities(link, PackageManager.MATCH_DEFAULT_ONLY)
        return Answering(found.mapNotNull { it.activityInfo?.name })
    }

    /** Whether Android opens links to the redirect's host in this app. */
    fun hostState(redirect: Redirect): HostState {
        val host = redirect.host
        return when {
            redirect.kind != RedirectKind.CLAIMED_HTTPS || host == null -> HostState.UNKNOWN
            Level.has(Level.DOMAIN_VERIFICATION) -> DomainVerificationSince31.of(context, host)
            else -> HostState.UNKNOWN
        }
    }

    companion object {
        const val CUSTOM_TABS_SERVICE: String = "android.support.customtabs.action.CustomTabsService"
        const val AUTH_TAB_CATEGORY: String = "androidx.browser.auth.category.AuthTab"
    }
}
