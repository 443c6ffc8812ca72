// What the snippet of docs/phone.md uses of Android, with the same signatures,
// so that it can be compiled and run where there is none.
package android.util

object Base64 {
    const val NO_PADDING = 1
    const val NO_WRAP = 2
    const val URL_SAFE = 8

    @JvmStatic fun encodeToString(b: ByteArray, flags: Int): String {
        require(flags == NO_PADDING or NO_WRAP or URL_SAFE)
        return java.util.Base64.getUrlEncoder().withoutPadding().encodeToString(b)
    }
}
