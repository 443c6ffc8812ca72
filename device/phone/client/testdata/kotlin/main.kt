// Answers what the test asks, a line each: the words of a line are hexadecimal,
// the first one says what is asked.

import java.math.BigInteger
import java.security.AlgorithmParameters
import java.security.KeyFactory
import java.security.PrivateKey
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec
import java.security.spec.ECParameterSpec
import java.security.spec.ECPoint
import java.security.spec.ECPrivateKeySpec
import java.security.spec.ECPublicKeySpec

fun unhex(s: String) = s.chunked(2).map { it.toInt(16).toByte() }.toByteArray()

val curve: ECParameterSpec = AlgorithmParameters.getInstance("EC").run {
    init(ECGenParameterSpec("secp256r1"))
    getParameterSpec(ECParameterSpec::class.java)
}

fun privateKey(b: ByteArray): PrivateKey = KeyFactory.getInstance("EC").generatePrivate(ECPrivateKeySpec(BigInteger(1, b), curve))

fun publicKey(b: ByteArray) = KeyFactory.getInstance("EC").generatePublic(
    ECPublicKeySpec(ECPoint(BigInteger(1, b.copyOfRange(1, 33)), BigInteger(1, b.copyOfRange(33, 65))), curve)) as ECPublicKey

fun main() {
    for (line in generateSequence(::readLine)) {
        val words = line.split(" ").map(::unhex)
        fun text(n: Int) = String(words[n])
        println(when (text(0)) {
            "id" -> id(point(publicKey(words[1])))
            "key" -> b64(point(publicKey(words[1])))
            "prove" -> prove(words[1], *words.drop(2).map { String(it) }.toTypedArray())
            "message" -> message(text(1), text(2), text(3).toLong(), words[4], words[5]).replace("\n", "|")
            "sign" -> authorization(text(1), text(2).toLong(), text(3), privateKey(words[4]))
            else -> "what?"
        })
    }
}
