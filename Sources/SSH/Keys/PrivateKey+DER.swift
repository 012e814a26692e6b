import CHogweed

extension PrivateKey {
    /// RSAPrivateKey (RFC 8017, A.1.2).
    init(pkcs1 bytes: [UInt8]) throws(SSHError) {
        guard var fields = derSequence(bytes), let version = fields.take(ASN1_INTEGER), version == [0] else {
            throw Self.error("ssh-rsa", "it is no RSAPrivateKey of two primes")
        }
        let limit = RSA.modulusBits.upperBound / 8 + 1
        var numbers: [[UInt8]] = []
        defer { for index in numbers.indices { numbers[index].wipe() } }
        for _ in 0..<8 {
            guard let number = fields.take(ASN1_INTEGER), number.count <= limit, (number.first ?? 0x80) & 0x80 == 0 else {
                throw Self.error("ssh-rsa", "a number is missing or too long")
            }
            numbers.append(number)
        }
        let (d, p, q) = (BigNumber(numbers[2]), BigNumber(numbers[3]), BigNumber(numbers[4]))
        let (exponentP, exponentQ) = (BigNumber(numbers[5]), BigNumber(numbers[6]))
        guard p.isAboveOne, q.isAboveOne, d.modulo(p.minusOne) == exponentP, d.modulo(q.minusOne) == exponentQ else {
            throw Self.error("ssh-rsa", "its numbers do not belong together")
        }
        try self.init(
            rsaModulus: BigNumber(numbers[0]), exponent: BigNumber(numbers[1]), p: p, q: q, exponentP: exponentP, exponentQ: exponentQ,
            coefficient: BigNumber(numbers[7]))
    }

    /// ECPrivateKey (RFC 5915, 3).
    ///
    /// - Parameter curve: the content of the curve's identifier, where it stands outside.
    init(sec1 bytes: [UInt8], curve: [UInt8]?) throws(SSHError) {
        guard var fields = derSequence(bytes), let version = fields.take(ASN1_INTEGER), version == [1],
            let scalar = fields.take(ASN1_OCTETSTRING)
        else { throw Self.error("ecdsa", "it is no ECPrivateKey") }
        var curve = curve
        if let parameters = fields.takeContext(0) {
            guard var parameters = DERElements(parameters), let name = parameters.take(ASN1_IDENTIFIER) else {
                throw Self.error("ecdsa", "its curve has no name")
            }
            curve = name
        }
        guard curve == Self.prime256v1 else { throw Self.error("ecdsa", "its curve is not P-256") }
        try self.init(ecdsaP256Scalar: scalar)
    }

    /// OneAsymmetricKey (RFC 5958, 2).
    init(pkcs8 bytes: [UInt8]) throws(SSHError) {
        guard var fields = derSequence(bytes), let version = fields.take(ASN1_INTEGER), version == [0] || version == [1],
            let identifier = fields.take(ASN1_SEQUENCE), var identifier = DERElements(identifier),
            let algorithm = identifier.take(ASN1_IDENTIFIER), let key = fields.take(ASN1_OCTETSTRING)
        else { throw Self.error("", "it is no OneAsymmetricKey") }
        switch algorithm {
        case Self.rsaEncryption: try self.init(pkcs1: key)
        case Self.ecPublicKey: try self.init(sec1: key, curve: identifier.take(ASN1_IDENTIFIER))
        case Self.ed25519:
            // The seed in a string of its own (RFC 8410, 7).
            guard var seed = DERElements(key), let seed = seed.take(ASN1_OCTETSTRING) else {
                throw Self.error("ssh-ed25519", "it has no seed")
            }
            try self.init(ed25519Seed: seed)
        default: throw Self.error("", "keys of this kind are not supported")
        }
    }

    // Object identifiers, as DER codes their content.
    /// 1.2.840.10045.3.1.7 (RFC 5480)
    private static let prime256v1: [UInt8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]
    /// 1.2.840.10045.2.1 (RFC 5480)
    private static let ecPublicKey: [UInt8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]
    /// 1.2.840.113549.1.1.1 (RFC 8017)
    private static let rsaEncryption: [UInt8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]
    /// 1.3.101.112 (RFC 8410)
    private static let ed25519: [UInt8] = [0x2b, 0x65, 0x70]
}
