import Base64Coding
import SSH
import Testing

/// What is no key, or none that is taken.
@Suite struct KeyRefusalTests {
    private func cause(_ body: () throws -> Void) -> String? {
        do { try body() } catch let error as SSHError { return error.cause } catch { return nil }
        return ""
    }

    private func point(_ bytes: [UInt8], curve: String = "nistp256") -> [UInt8] {
        var blob = WireWriter()
        blob.text("ecdsa-sha2-nistp256")
        blob.text(curve)
        blob.string(bytes)
        return blob.bytes
    }

    @Test func otherTypesAreRefusedByName() {
        for type in ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "ssh-dss", "ecdsa-sha2-nistp521"] {
            var blob = WireWriter()
            blob.text(type)
            blob.string([1, 2, 3])
            #expect(throws: SSHError(.hostKeyNotVerifiable, "read public key", type, "keys of this type are not supported")) {
                try PublicKey(blob: blob.bytes)
            }
            #expect(cause { _ = try PublicKey(line: "\(type) AAAA comment") }?.contains("no type of key that is supported") == true)
        }
        // Nothing obeys options, so that a key with them is not taken.
        #expect(cause { _ = try PublicKey(line: "command=\"true\" ssh-ed25519 AAAA") }?.contains("options") == true)
    }

    @Test func pointsThatAreNotOnTheCurve() throws {
        let good = try PrivateKey(ecdsaP256Scalar: [5]).publicKey
        let coordinates = Array(good.blob.suffix(64))
        #expect(try PublicKey(blob: point([4] + coordinates)) == good)
        var off = coordinates
        off[63] ^= 1
        let huge = [UInt8](repeating: 0xff, count: 64)
        let compressed: [UInt8] = [2] + coordinates[..<32]
        let bad: [[UInt8]] = [
            [4] + off, [4] + huge, [4] + [UInt8](repeating: 0, count: 64), [0], [], compressed, [4] + coordinates.dropLast(),
        ]
        for bad in bad {
            #expect(throws: SSHError.self) { try PublicKey(blob: point(bad)) }
        }
        #expect(throws: SSHError.self) { try PublicKey(blob: point([4] + coordinates, curve: "nistp384")) }
    }

    @Test func privateNumbersOutOfTheirRange() {
        let order = bytes(hexadecimal: "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
        for bad in [[], [0], order, [UInt8](repeating: 0xff, count: 32), [UInt8](repeating: 1, count: 40)] {
            #expect(throws: SSHError.self) { try PrivateKey(ecdsaP256Scalar: bad) }
        }
        #expect(throws: SSHError.self) { try PrivateKey(ed25519Seed: [1, 2, 3]) }
    }

    @Test func rsaThatCannotBe() {
        func blob(_ exponent: [UInt8], _ modulus: [UInt8]) -> [UInt8] {
            var writer = WireWriter()
            writer.text("ssh-rsa")
            writer.mpint(exponent)
            writer.mpint(modulus)
            return writer.bytes
        }
        let modulus = [UInt8](repeating: 0xff, count: 256)
        #expect(throws: Never.self) { try PublicKey(blob: blob([1, 0, 1], modulus)) }
        let even = modulus.dropLast() + [0xfe]
        let long = [UInt8](repeating: 0xff, count: 2049)
        let pairs: [([UInt8], [UInt8])] = [
            ([], modulus), ([1], modulus), ([2], modulus), ([UInt8](repeating: 0xff, count: 9), modulus), ([1, 0, 1], Array(even)),
            ([1, 0, 1], []), ([1, 0, 1], [0xff]), ([1, 0, 1], long),
        ]
        for (exponent, modulus) in pairs { #expect(throws: SSHError.self) { try PublicKey(blob: blob(exponent, modulus)) } }
    }

    /// Whatever byte of a file of OpenSSH's is changed: it is refused, or stands for nothing.
    @Test func everyChangeOfAFile() throws {
        let keys = try [PrivateKey(ed25519Seed: TransportPair.seed), PrivateKey(ecdsaP256Scalar: [9]), PrivateKey(text: shortRSAKey)]
        for key in keys {
            let lines = key.openSSHText(comment: "c").split(separator: "\n").map(String.init)
            let content = try #require(Base64.decode(lines.dropFirst().dropLast().joined().utf8))
            var taken = 0
            for index in content.indices {
                for difference in [UInt8(1), 0x80, 0xff] {
                    var changed = content
                    changed[index] ^= difference
                    let text = "\(lines[0])\n\(Base64.encode(changed))\n\(lines[lines.count - 1])"
                    guard let read = try? PrivateKey(text: text) else { continue }
                    taken += 1
                    #expect(read.publicKey == key.publicKey, "byte \(index)")
                }
            }
            // The comment, and the public halves that stand beside the private ones.
            #expect(taken > 0 && taken < content.count, "\(taken) of \(3 * content.count)")
        }
    }

    @Test func everyPrefix() throws {
        let keys = try [PrivateKey(ed25519Seed: TransportPair.seed), PrivateKey(ecdsaP256Scalar: [9]), PrivateKey(text: shortRSAKey)]
        for key in keys {
            let blob = key.publicKey.blob
            for end in blob.indices { #expect(throws: SSHError.self) { try PublicKey(blob: Array(blob[..<end])) } }
            #expect(throws: SSHError.self) { try PublicKey(blob: blob + [0]) }
            let text = key.openSSHText(comment: "")
            #expect(try PrivateKey(text: text).publicKey == key.publicKey)
            for end in stride(from: 0, to: text.utf8.count - 2, by: 7) {
                #expect(throws: SSHError.self) { try PrivateKey(text: String(text.prefix(end))) }
            }
        }
    }

    /// A key whose numbers do not belong together would give away its secret with its first signature.
    @Test func rsaWithAChangedNumber() throws {
        let lines = shortRSAKey.split(separator: "\n")
        var refused = 0
        for index in 1..<lines.count - 1 {
            var changed = lines
            changed[index] = Substring(String(changed[index].dropLast()) + (changed[index].last == "A" ? "B" : "A"))
            do { _ = try PrivateKey(text: changed.joined(separator: "\n")) } catch { refused += 1 }
        }
        #expect(refused == lines.count - 2)
    }

    @Test func textThatIsNoKey() {
        #expect(cause { _ = try PrivateKey(text: "") } == "no line \"-----BEGIN …-----\" is found")
        #expect(cause { _ = try PrivateKey(text: "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n") } == "its last line is missing")
        let encrypted = """
            -----BEGIN RSA PRIVATE KEY-----
            Proc-Type: 4,ENCRYPTED
            DEK-Info: AES-128-CBC,00

            AAAA
            -----END RSA PRIVATE KEY-----
            """
        #expect(cause { _ = try PrivateKey(text: encrypted) } == "encrypted keys are not supported")
        let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----"
        #expect(cause { _ = try PrivateKey(text: text) } == "encrypted keys are not supported")
        let long = "-----BEGIN PRIVATE KEY-----\n" + String(repeating: "A", count: 70_000) + "\n-----END PRIVATE KEY-----"
        #expect(cause { _ = try PrivateKey(text: long) } == "the text is longer than 64 KiB")
        for label in ["RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "CERTIFICATE"] {
            for content in ["", "AAAA", "MAA=", "MIIBAAIB", "&"] {
                #expect(throws: SSHError.self) { try PrivateKey(text: "-----BEGIN \(label)-----\n\(content)\n-----END \(label)-----") }
            }
        }
        #expect(throws: SSHError.self) { try PublicKey(line: "ssh-ed25519") }
        #expect(throws: SSHError.self) { try PublicKey(line: "ssh-ed25519 !") }
        #expect(throws: SSHError.self) {
            try PublicKey(line: "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIN6coxHYc/mPOs+/ViWG62mfOyCSKmbEsuPra13prom1")
        }
    }
}
