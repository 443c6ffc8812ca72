@file:Suppress("UNUSED_PARAMETER")

package org.conscrypt

object Conscrypt {
    @JvmStatic fun exportKeyingMaterial(s: javax.net.ssl.SSLSocket, label: String, context: ByteArray?, length: Int): ByteArray =
        throw UnsupportedOperationException()
}
