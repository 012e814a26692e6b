import CHogweed

/// A point of NIST's curve P-256, checked to be on it, and not the one at infinity.
final class P256Point {
    let point: UnsafeMutablePointer<ecc_point>

    private init() {
        point = .allocate(capacity: 1)
        nettle_ecc_point_init(point, nettle_get_secp_256r1())
    }

    deinit {
        nettle_ecc_point_clear(point)
        point.deallocate()
    }

    /// - Parameter bytes: SEC 1, 2.3.4, uncompressed, which is the only form that RFC 5656 requires.
    /// - Returns: nil for what is no point of the curve.
    convenience init?(_ bytes: [UInt8]) {
        guard bytes.count == 65, bytes[0] == 4 else { return nil }
        self.init()
        let x = BigNumber(Array(bytes[1..<33]))
        let y = BigNumber(Array(bytes[33...]))
        // False too for coordinates that are not below the prime.
        guard nettle_ecc_point_set(point, x.pointer, y.pointer) == 1 else { return nil }
    }

    /// The public half of a scalar.
    convenience init(publicHalfOf scalar: P256Scalar) {
        self.init()
        nettle_ecc_point_mul_g(point, scalar.scalar)
    }

    var bytes: [UInt8] {
        let (x, y) = (BigNumber(), BigNumber())
        nettle_ecc_point_get(point, x.pointer, y.pointer)
        return [4] + x.bytes(count: 32) + y.bytes(count: 32)
    }

    /// The x coordinate of this point times a scalar, as 32 bytes: ECDH (SEC 1, 3.3.1; the curve's cofactor is 1). It cannot be
    /// the point at infinity, since the order of the curve is prime.
    func multiplied(by scalar: P256Scalar) -> [UInt8] {
        let product = P256Point()
        defer { withExtendedLifetime(product) {} }
        nettle_ecc_point_mul(product.point, scalar.scalar, point)
        let (x, y) = (BigNumber(), BigNumber())
        nettle_ecc_point_get(product.point, x.pointer, y.pointer)
        return x.bytes(count: 32)
    }

    /// FIPS 186-4, 6.4.
    func verify(digest: [UInt8], r: [UInt8], s: [UInt8]) -> Bool {
        let (r, s) = (BigNumber(r), BigNumber(s))
        // The numbers of C are borrowed: the compiler does not see that they are still in use.
        defer { withExtendedLifetime((r, s)) {} }
        var signature = dsa_signature(r: r.pointer.pointee, s: s.pointer.pointee)
        return withUnsafePointer(to: &signature) { nettle_ecdsa_verify(point, digest.count, digest, $0) } == 1
    }
}

/// A number from 1 to below the order of P-256: a private key. nettle's memory for it is overwritten at its end.
final class P256Scalar {
    let scalar: UnsafeMutablePointer<ecc_scalar>

    private init() {
        scalar = .allocate(capacity: 1)
        nettle_ecc_scalar_init(scalar, nettle_get_secp_256r1())
    }

    convenience init(random: RandomSource) {
        self.init()
        random.withFunction { nettle_ecc_scalar_random(scalar, $0, $1) }
    }

    /// - Returns: nil for 0, and for the order or more.
    convenience init?(_ bytes: [UInt8]) {
        self.init()
        let number = BigNumber(bytes)
        guard nettle_ecc_scalar_set(scalar, number.pointer) == 1 else { return nil }
    }

    deinit {
        let limbs = nettle_ecc_size(nettle_get_secp_256r1())
        UnsafeMutableRawBufferPointer(start: scalar.pointee.p, count: limbs * MemoryLayout<mp_limb_t>.size).wipe()
        nettle_ecc_scalar_clear(scalar)
        scalar.deallocate()
    }

    var bytes: [UInt8] {
        let number = BigNumber()
        nettle_ecc_scalar_get(scalar, number.pointer)
        return number.bytes(count: 32)
    }

    /// FIPS 186-4, 6.4.
    func sign(digest: [UInt8], random: RandomSource) -> (r: [UInt8], s: [UInt8]) {
        let (r, s) = (BigNumber(), BigNumber())
        defer { withExtendedLifetime((r, s)) {} }
        var signature = dsa_signature(r: r.pointer.pointee, s: s.pointer.pointee)
        random.withFunction { nettle_ecdsa_sign(scalar, $0, $1, digest.count, digest, &signature) }
        // GMP may have moved the limbs.
        (r.pointer.pointee, s.pointer.pointee) = (signature.r, signature.s)
        return (r.bytes, s.bytes)
    }
}
