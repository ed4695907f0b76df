// Android 12 and later. A class of its own, so that older ones never load it.

package io.gatepass.android

import android.content.Context
import android.content.pm.PackageManager
import android.content.pm.verify.domain.DomainVerificationManager
import android.content.pm.verify.domain.DomainVerificationUserState

internal object DomainVerificationSince31 {
    fun of(context: Context, host: String): HostState {
        val manager = context.getSystemService(DomainVerificationManager::class.java) ?: return HostState.UNKNOWN
        val state = try {
            manager.getDomainVerificationUserState(context.packageName)
        } catch (e: PackageManager.NameNotFoundException) {
            null
        } ?: return HostState.UNKNOWN
        return judge(state.isLinkHandlingAllowed, state.hostToStateMap[host])
    }

    /** `null`: the manifest does not name the host, which [checkDeclared] says better. */
    private fun judge(linksAllowed: Boolean, state: Int?): HostState = when {
        state == null -> HostState.UNKNOWN
        !linksAllowed -> HostState.STAYS_IN_BROWSER
        state == DomainVerificationUserState.DOMAIN_STATE_NONE -> HostState.STAYS_IN_BROWSER
        else -> HostState.OPENS_APP
    }
}
