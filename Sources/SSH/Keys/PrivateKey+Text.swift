import Base64Coding

/// Keys in text: what OpenSSH and OpenSSL write, as far as it is not encrypted.
extension PrivateKey {
    /// - Parameter text: a file of OpenSSH's (its PROTOCOL.key), or PEM (RFC 7468) with a key of PKCS#1 (RFC 8017), SEC 1
    ///   (RFC 5915) or PKCS#8 (RFC 5958). What stands before and after it is left out.
    /// - Throws: for what is none of these, is encrypted, or is no key that is supported.
    public init(text: String) throws(SSHError) {
        guard text.utf8.count <= 64 << 10 else { throw Self.error("", "the text is longer than 64 KiB") }
        let lines = text.utf8.split { $0 == 0x0a || $0 == 0x0d }.map { Self.trimmed($0) }
        guard let begin = lines.firstIndex(where: { $0.starts(with: Self.begin) && $0.reversed().starts(with: Self.dashes) }) else {
            throw Self.error("", "no line \"-----BEGIN …-----\" is found")
        }
        let label = String(decoding: lines[begin].dropFirst(Self.begin.count).dropLast(Self.dashes.count), as: UTF8.self)
        guard let end = lines[begin...].firstIndex(where: { $0.elementsEqual(Array("-----END \(label)-----".utf8)) }) else {
            throw Self.error("", "its last line is missing")
        }
        var content: [UInt8] = []
        for line in lines[(begin + 1)..<end] {
            // RFC 1421's headers, which OpenSSL writes before an encrypted key.
            if line.contains(UInt8(ascii: ":")) { throw Self.error("", "encrypted keys are not supported") }
            content.append(contentsOf: line)
        }
        defer { content.wipe() }
        guard var bytes = Base64.decode(content) else { throw Self.error("", "it is not base64") }
        defer { bytes.wipe() }
        switch label {
        case "OPENSSH PRIVATE KEY": try self.init(openSSH: bytes)
        case "RSA PRIVATE KEY": try self.init(pkcs1: bytes)
        case "EC PRIVATE KEY": try self.init(sec1: bytes, curve: nil)
        case "PRIVATE KEY": try self.init(pkcs8: bytes)
        case "ENCRYPTED PRIVATE KEY": throw Self.error("", "encrypted keys are not supported")
        default: throw Self.error("", "what the text holds is no private key of a kind that is supported")
        }
    }

    /// The key as a file of OpenSSH's, not encrypted.
    public func openSSHText(comment: String) -> String {
        var secrets = WireWriter()
        defer { secrets.wipe() }
        // Two equal numbers, by which a wrong passphrase is noticed where there is one.
        let check = Hashes.sha256(publicKey.blob).prefix(4)
        secrets.raw(check)
        secrets.raw(check)
        secrets.text(publicKey.algorithm)
        switch (secret, publicKey.material) {
        case (.ed25519(let seed), .ed25519(let point)):
            secrets.string(point)
            secrets.string(seed.copy + point)
        case (.ecdsaP256(let scalar), .ecdsaP256(let point)):
            secrets.text("nistp256")
            secrets.string(point)
            secrets.mpint(scalar.copy)
        case (.rsa(let rsa), .rsa(let exponent, let modulus)):
            secrets.mpint(modulus)
            secrets.mpint(exponent)
            secrets.mpint(rsa.exponent(publicExponent: exponent))
            secrets.mpint(rsa.coefficient.copy)
            secrets.mpint(rsa.p.copy)
            secrets.mpint(rsa.q.copy)
        default: break
        }
        secrets.text(comment)
        var padding: UInt8 = 1
        while secrets.bytes.count % 8 != 0 {
            secrets.byte(padding)
            padding += 1
        }
        var file = WireWriter()
        defer { file.wipe() }
        file.raw(Self.magic)
        for name in ["none", "none", ""] { file.text(name) }
        file.uint32(1)
        file.string(publicKey.blob)
        file.string(secrets.bytes)
        var text = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
        let code = Array(Base64.encode(file.bytes).utf8)
        for start in stride(from: 0, to: code.count, by: 70) {
            text += String(decoding: code[start..<min(code.count, start + 70)], as: UTF8.self) + "\n"
        }
        return text + "-----END OPENSSH PRIVATE KEY-----\n"
    }

    private static let begin = Array("-----BEGIN ".utf8)
    private static let dashes = Array("-----".utf8)
    private static let magic = Array("openssh-key-v1\0".utf8)

    private static func trimmed(_ line: Substring.UTF8View.SubSequence) -> [UInt8] {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        var line = Array(line.drop(while: isBlank))
        while let last = line.last, isBlank(last) { line.removeLast() }
        return line
    }

    private init(openSSH bytes: [UInt8]) throws(SSHError) {
        var reader = WireReader(bytes)
        guard reader.take(Self.magic.count).elementsEqual(Self.magic) else {
            throw Self.error("", "it does not begin as OpenSSH's keys do")
        }
        let (cipher, derivation) = (reader.text(), reader.text())
        _ = reader.string()
        guard cipher == "none", derivation == "none" else { throw Self.error("", "encrypted keys are not supported") }
        guard reader.uint32() == 1 else { throw Self.error("", "the file has not one key, but none or many") }
        let publicKey = reader.string()
        var secrets = reader.string()
        defer { secrets.wipe() }
        guard reader.isComplete else { throw Self.error("", "the file is cut off, or something follows its key") }
        var fields = WireReader(secrets)
        guard fields.uint32() == fields.uint32() else { throw Self.error("", "its two check numbers differ") }
        let type = fields.text()
        switch type {
        case "ssh-ed25519":
            _ = fields.string()
            let pair = fields.string()
            guard pair.count == 64 else { throw Self.error(type, "the private half has not 64 bytes") }
            try self.init(ed25519Seed: Array(pair[..<32]))
        case "ecdsa-sha2-nistp256":
            _ = fields.text()
            _ = fields.string()
            try self.init(ecdsaP256Scalar: fields.mpint(maximum: 32))
        case "ssh-rsa":
            let limit = RSA.modulusBits.upperBound / 8
            let (n, e) = (BigNumber(fields.mpint(maximum: limit)), BigNumber(fields.mpint(maximum: limit)))
            let (d, coefficient) = (BigNumber(fields.mpint(maximum: limit)), BigNumber(fields.mpint(maximum: limit)))
            let (p, q) = (BigNumber(fields.mpint(maximum: limit)), BigNumber(fields.mpint(maximum: limit)))
            guard !fields.hasFailed, p.isAboveOne, q.isAboveOne else { throw Self.error(type, "a number is missing") }
            try self.init(
                rsaModulus: n, exponent: e, p: p, q: q, exponentP: d.modulo(p.minusOne), exponentQ: d.modulo(q.minusOne),
                coefficient: coefficient)
        default:
            throw Self.error("", "keys of this type are not supported")
        }
        _ = fields.string()
        guard !fields.hasFailed, fields.rest().enumerated().allSatisfy({ $0.element == UInt8(truncatingIfNeeded: $0.offset + 1) }) else {
            throw Self.error(type, "the padding is wrong")
        }
        guard self.publicKey.blob == publicKey else { throw Self.error(type, "the public half belongs to another key") }
    }
}
