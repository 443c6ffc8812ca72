@file:Suppress("UNUSED_PARAMETER")

package android.security.keystore

import java.security.spec.AlgorithmParameterSpec

class KeyGenParameterSpec : AlgorithmParameterSpec {
    class Builder(alias: String, purposes: Int) {
        fun setAlgorithmParameterSpec(s: AlgorithmParameterSpec) = this
        fun setDigests(vararg d: String) = this
        fun setUnlockedDeviceRequired(b: Boolean) = this
        fun build() = KeyGenParameterSpec()
    }
}

object KeyProperties {
    const val PURPOSE_SIGN = 4
    const val DIGEST_SHA256 = "SHA-256"
    const val KEY_ALGORITHM_EC = "EC"
}
