import CHogweed
import CLinux

/// A number of GMP, which is overwritten at its end.
final class BigNumber {
    /// Made by GMP, and freed with this value.
    let pointer: UnsafeMutablePointer<__mpz_struct>

    init() {
        pointer = .allocate(capacity: 1)
        __gmpz_init(pointer)
    }

    /// - Parameter bytes: the number without sign, most significant byte first.
    convenience init(_ bytes: [UInt8]) {
        self.init()
        __gmpz_import(pointer, bytes.count, 1, 1, 1, 0, bytes)
    }

    convenience init(_ secret: SecretBytes) {
        self.init()
        secret.withBytes { __gmpz_import(pointer, $0.count, 1, 1, 1, 0, $0.baseAddress) }
    }

    convenience init(_ value: UInt) {
        self.init()
        __gmpz_set_ui(pointer, value)
    }

    deinit {
        BigNumber.wipe(pointer)
        __gmpz_clear(pointer)
        pointer.deallocate()
    }

    /// Overwrites a number that is to be cleared. GMP's numbers that never had a value own no limbs.
    static func wipe(_ number: UnsafeMutablePointer<__mpz_struct>) {
        if number.pointee._mp_alloc > 0 {
            explicit_bzero(number.pointee._mp_d, Int(number.pointee._mp_alloc) * MemoryLayout<mp_limb_t>.size)
        }
    }

    /// The bytes, most significant first, without zeros before them.
    var bytes: [UInt8] { BigNumber.bytes(pointer) }

    static func bytes(_ number: UnsafePointer<__mpz_struct>) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: (__gmpz_sizeinbase(number, 2) + 7) / 8)
        var count = 0
        __gmpz_export(&result, &count, 1, 1, 1, 0, number)
        return count == result.count ? result : []
    }

    /// The bytes with zeros before them.
    ///
    /// - Returns: `count` bytes; the least significant ones of a number that is longer.
    func bytes(count: Int) -> [UInt8] {
        var digits = bytes
        defer { digits.wipe() }
        return [UInt8](repeating: 0, count: max(0, count - digits.count)) + digits.suffix(count)
    }

    /// The bytes of a number that is secret, without a copy that stays.
    var secret: SecretBytes {
        var digits = bytes
        defer { digits.wipe() }
        return SecretBytes(digits)
    }

    var isOdd: Bool { __gmpz_tstbit(pointer, 0) == 1 }

    var isAboveOne: Bool { __gmpz_cmp_ui(pointer, 1) > 0 }

    var bitCount: Int { __gmpz_sizeinbase(pointer, 2) }

    static func == (_ a: BigNumber, _ b: BigNumber) -> Bool { __gmpz_cmp(a.pointer, b.pointer) == 0 }

    static func < (_ a: BigNumber, _ b: BigNumber) -> Bool { __gmpz_cmp(a.pointer, b.pointer) < 0 }

    func times(_ other: BigNumber) -> BigNumber {
        let result = BigNumber()
        __gmpz_mul(result.pointer, pointer, other.pointer)
        return result
    }

    /// - Parameter modulus: not 0.
    func modulo(_ modulus: BigNumber) -> BigNumber {
        let result = BigNumber()
        __gmpz_mod(result.pointer, pointer, modulus.pointer)
        return result
    }

    var minusOne: BigNumber {
        let result = BigNumber()
        __gmpz_sub_ui(result.pointer, pointer, 1)
        return result
    }

    /// - Returns: nil where there is none.
    func inverse(modulo modulus: BigNumber) -> BigNumber? {
        let result = BigNumber()
        guard __gmpz_invert(result.pointer, pointer, modulus.pointer) != 0 else { return nil }
        return result
    }
}
