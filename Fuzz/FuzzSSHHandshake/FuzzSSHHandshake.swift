// Exchanges keys with both sides of the transport, as libFuzzer has it: with a peer that knows its part and leaves it wherever the
// input says so. What follows the exchange, and what needs a signature, is here too. A promise broken is a trap, which libFuzzer
// reports with the input that caused it.
@testable import SSH

/// The first byte chooses what is fed.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let rest = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    switch start[0] % 8 {
    case 0...2: converse(.server, rest)
    case 3...5: converse(.client, rest)
    case 6: checkSignature(rest)
    default: checkSigning(rest)
    }
    return 0
}

var random: RandomSource { RandomSource { [UInt8](repeating: 0x5a, count: $0) } }

private func converse(_ role: TransportConfiguration.Role, _ input: [UInt8]) {
    guard input.count > 3 else { return }
    var talk = Talk(role, input, chunk: .max)
    let outcome = talk.run()
    // The pieces in which bytes come do not matter. Not in each run: it takes twice the time.
    guard input[2] & 3 == 0 else { return }
    var again = Talk(role, input, chunk: 1 + Int(input[2] >> 2))
    precondition(outcome == again.run(), "the result depends on the chunks")
}

let hostKeys: [PrivateKey] = {
    let keys = [try? PrivateKey(ed25519Seed: [UInt8](repeating: 7, count: 32)), try? PrivateKey(ecdsaP256Scalar: [7])]
    return keys.compactMap { $0 }
}()

/// A signature that somebody made up: the first byte chooses the key.
private func checkSignature(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let key = hostKeys[Int(first) % hostKeys.count].publicKey
    var signature = WireWriter()
    signature.text(key.algorithm)
    signature.string(Array(input.dropFirst()))
    precondition(!key.verify(signature: signature.bytes, algorithm: key.algorithm, data: [1]), "a signature out of nothing")
    precondition(!key.verify(signature: Array(input.dropFirst()), algorithm: key.algorithm, data: [1]), "a signature out of nothing")
}

/// A key that was understood signs, by each algorithm that it says it has, and what it signs is verified.
private func checkSigning(_ input: [UInt8]) {
    guard let key = try? PrivateKey(text: String(decoding: input, as: UTF8.self)) else { return }
    for algorithm in key.signatureAlgorithms {
        // Numbers that pass for an RSA key's need not be prime. A signature that is wrong then does not come out.
        guard var signature = try? key.sign([1, 2, 3], algorithm: algorithm, random: random) else {
            precondition(key.publicKey.algorithm == "ssh-rsa", "a key does not sign")
            continue
        }
        precondition(key.publicKey.verify(signature: signature, algorithm: algorithm, data: [1, 2, 3], allowsWeak: true))
        signature[signature.count - 1] ^= 1
        precondition(!key.publicKey.verify(signature: signature, algorithm: algorithm, data: [1, 2, 3], allowsWeak: true))
    }
}
