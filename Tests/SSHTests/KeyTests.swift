import Foundation
@testable import SSH
import Testing

/// Keys beside ssh-keygen, which made them or checks what they make.
@Suite struct KeyTests {
    static let kinds = ["ed25519", "ecdsa", "rsa"]
    private let random = RandomSource.repeatable(3)
    private let message = Array("what is signed".utf8)

    private func generate(_ kind: String, _ options: String = "", in scratch: Scratch) throws -> (text: String, line: String) {
        let bits = kind == "rsa" ? "-b 2048" : ""
        #expect(try scratch.run("ssh-keygen -q -t \(kind) \(bits) \(options) -N '' -C 'a comment' -f key").status == 0)
        return (String(decoding: try scratch.read("key"), as: UTF8.self), String(decoding: try scratch.read("key.pub"), as: UTF8.self))
    }

    @Test(arguments: kinds, ["", "-m PEM", "-m PKCS8"]) func keysOfOthersAreRead(_ kind: String, _ format: String) throws {
        let scratch = try Scratch()
        let (text, line) = try generate(kind, format, in: scratch)
        let key = try PrivateKey(text: text)
        #expect(line.hasPrefix(key.publicKey.line + " "))
        #expect(try PublicKey(line: line) == key.publicKey)
        let listing = try scratch.run("ssh-keygen -lf key.pub").output
        #expect(listing.hasPrefix("\(key.publicKey.bits) \(key.publicKey.fingerprint) "))
        // What it writes, ssh-keygen reads.
        try scratch.write("again", key.openSSHText(comment: "another comment"))
        let again = try scratch.run("ssh-keygen -y -f again")
        #expect(again.status == 0)
        #expect(again.output == key.publicKey.line + " another comment\n")
        #expect(try PrivateKey(text: key.openSSHText(comment: "x")).publicKey == key.publicKey)
    }

    @Test(arguments: kinds) func signaturesAreUnderstoodByOthers(_ kind: String) throws {
        let scratch = try Scratch()
        let key = try PrivateKey(text: try generate(kind, in: scratch).text)
        for algorithm in key.signatureAlgorithms where algorithm != "ssh-rsa" {
            var signed = envelope(key.publicKey)
            signed.string(try key.sign(signedData(message), algorithm: algorithm, random: random))
            let code = Data(signed.bytes).base64EncodedString(options: .lineLength64Characters)
            try scratch.write("message.sig", "-----BEGIN SSH SIGNATURE-----\n\(code)\n-----END SSH SIGNATURE-----\n")
            try scratch.write("message", String(decoding: message, as: UTF8.self))
            #expect(try scratch.run("ssh-keygen -Y check-novalidate -n test -s message.sig <message").status == 0)
            #expect(try scratch.run("echo other | ssh-keygen -Y check-novalidate -n test -s message.sig").status != 0)
        }
    }

    @Test(arguments: kinds) func signaturesOfOthersAreUnderstood(_ kind: String) throws {
        let scratch = try Scratch()
        let key = try PublicKey(line: try generate(kind, in: scratch).line)
        try scratch.write("message", String(decoding: message, as: UTF8.self))
        #expect(try scratch.run("ssh-keygen -q -Y sign -f key -n test message").status == 0)
        let lines = String(decoding: try scratch.read("message.sig"), as: UTF8.self).split(separator: "\n").dropFirst().dropLast()
        let blob = try #require(Data(base64Encoded: lines.joined()))
        let start = Array(blob).starts(with: envelope(key).bytes) ? envelope(key).bytes.count : nil
        var reader = WireReader(Array(blob), from: try #require(start))
        let signature = reader.string()
        #expect(reader.isComplete)
        let algorithm = kind == "rsa" ? "rsa-sha2-512" : key.algorithm
        #expect(key.verify(signature: signature, algorithm: algorithm, data: signedData(message)))
        #expect(!key.verify(signature: signature, algorithm: algorithm, data: signedData(message + [0])))
        #expect(!key.verify(signature: signature, algorithm: "rsa-sha2-256", data: signedData(message)))
    }

    /// What comes before the signature in ssh-keygen's format (OpenSSH's PROTOCOL.sshsig).
    private func envelope(_ key: PublicKey) -> WireWriter {
        var writer = WireWriter()
        writer.raw(Array("SSHSIG".utf8))
        writer.uint32(1)
        writer.string(key.blob)
        writer.text("test")
        writer.text("")
        writer.text("sha512")
        return writer
    }

    private func signedData(_ message: [UInt8]) -> [UInt8] {
        var writer = WireWriter()
        writer.raw(Array("SSHSIG".utf8))
        writer.text("test")
        writer.text("")
        writer.text("sha512")
        writer.string(Hashes.sha512(message))
        return writer.bytes
    }

    /// RFC 8032, 7.1, test 2.
    @Test func ed25519OfTheRFC() throws {
        let key = try PrivateKey(ed25519Seed: bytes(hexadecimal: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
        let point = bytes(hexadecimal: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
        #expect(Array(key.publicKey.blob.suffix(32)) == point)
        let signature = try key.sign([0x72], algorithm: "ssh-ed25519", random: random)
        #expect(
            Array(signature.suffix(64))
                == bytes(
                    hexadecimal: "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                        + "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"))
        #expect(key.publicKey.verify(signature: signature, algorithm: "ssh-ed25519", data: [0x72]))
    }

    /// RFC 6979, A.2.5: the key, and the signature of "sample" with SHA-256.
    @Test func ecdsaOfTheRFC() throws {
        let key = try PrivateKey(
            ecdsaP256Scalar: bytes(hexadecimal: "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"))
        let x = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
        let y = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
        #expect(Array(key.publicKey.blob.suffix(65)) == [4] + bytes(hexadecimal: x + y))
        var numbers = WireWriter()
        numbers.mpint(bytes(hexadecimal: "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"))
        numbers.mpint(bytes(hexadecimal: "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"))
        var signature = WireWriter()
        signature.text("ecdsa-sha2-nistp256")
        signature.string(numbers.bytes)
        #expect(key.publicKey.verify(signature: signature.bytes, algorithm: "ecdsa-sha2-nistp256", data: Array("sample".utf8)))
        #expect(!key.publicKey.verify(signature: signature.bytes, algorithm: "ecdsa-sha2-nistp256", data: Array("simple".utf8)))
    }

    @Test func shortAndOldRSAIsNotBelievedUnlessAsked() throws {
        let key = try PrivateKey(text: shortRSAKey)
        #expect(key.publicKey.bits == 512)
        #expect(key.publicKey.isWeak)
        // SHA-512 does not fit into 512 bits.
        #expect(key.signatureAlgorithms == ["rsa-sha2-256", "ssh-rsa"])
        for algorithm in key.signatureAlgorithms {
            let signature = try key.sign(message, algorithm: algorithm, random: random)
            #expect(!key.publicKey.verify(signature: signature, algorithm: algorithm, data: message))
            #expect(key.publicKey.verify(signature: signature, algorithm: algorithm, data: message, allowsWeak: true))
        }
        #expect(throws: SSHError.self) { try key.sign(message, algorithm: "rsa-sha2-512", random: random) }
        let scratch = try Scratch()
        let long = try PrivateKey(text: try generate("rsa", in: scratch).text)
        #expect(long.signatureAlgorithms == ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"])
        let old = try long.sign(message, algorithm: "ssh-rsa", random: random)
        #expect(!long.publicKey.verify(signature: old, algorithm: "ssh-rsa", data: message))
        #expect(long.publicKey.verify(signature: old, algorithm: "ssh-rsa", data: message, allowsWeak: true))
        // A signature is of the algorithm that was announced, and of no other that the key has.
        #expect(!long.publicKey.verify(signature: old, algorithm: "rsa-sha2-512", data: message, allowsWeak: true))
    }

    @Test(arguments: kinds) func aChangedSignatureDoesNotVerify(_ kind: String) throws {
        let key = try PrivateKey(text: try generate(kind, in: Scratch()).text)
        let algorithm = try #require(key.signatureAlgorithms.first)
        let signature = try key.sign(message, algorithm: algorithm, random: random)
        #expect(key.publicKey.verify(signature: signature, algorithm: algorithm, data: message))
        for index in signature.indices {
            var changed = signature
            changed[index] ^= 1
            #expect(!key.publicKey.verify(signature: changed, algorithm: algorithm, data: message), "byte \(index)")
            #expect(!key.publicKey.verify(signature: Array(signature[..<index]), algorithm: algorithm, data: message), "cut at \(index)")
        }
        #expect(!key.publicKey.verify(signature: signature + [0], algorithm: algorithm, data: message))
    }
}
