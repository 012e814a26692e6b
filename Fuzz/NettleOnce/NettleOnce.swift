import CHogweed
@testable import SSH

// nettle's public-key functions, in front of those of the library: with the same keys in each run, nearly all their questions come
// again, and they take more than half of the time. Each is asked once, and the answer is remembered with all that it depends on.
// What is random is not among that: it is always the same here.

/// What was asked, with an answer: bytes that a function wrote, or the number that it returned.
nonisolated(unsafe) private var known: [[UInt8]: [UInt8]] = [:]

private enum Function: UInt8 {
    case curve25519Public, curve25519Shared, p256Public, p256Shared, ed25519Sign, ed25519Verify, ecdsaSign, ecdsaVerify
}

private func once(_ function: Function, _ question: [[UInt8]], _ answer: () -> [UInt8]) -> [UInt8] {
    var key = [function.rawValue]
    for part in question { key += [UInt8(truncatingIfNeeded: part.count >> 8), UInt8(truncatingIfNeeded: part.count)] + part }
    if let answer = known[key] { return answer }
    // Inputs that change what is signed ask something new each time.
    if known.count >= 5000 { known.removeAll(keepingCapacity: true) }
    let answer = answer()
    known[key] = answer
    return answer
}

// MARK: The library's own functions

@_silgen_name("dlsym")
private func dlsym(_ handle: UnsafeMutableRawPointer?, _ name: UnsafePointer<CChar>) -> UnsafeMutableRawPointer?

/// The function that there would be without the one of this file: RTLD_NEXT is -1.
private func library<Function>(_ name: StaticString, as type: Function.Type) -> Function {
    let symbol = name.withUTF8Buffer { name in
        name.withMemoryRebound(to: CChar.self) { $0.baseAddress.flatMap { dlsym(UnsafeMutableRawPointer(bitPattern: -1), $0) } }
    }
    guard let symbol else { fatalError("there is no function \(name)") }
    return unsafeBitCast(symbol, to: type)
}

typealias Bytes = UnsafePointer<UInt8>
typealias Place = UnsafeMutablePointer<UInt8>
typealias Scalar = UnsafePointer<ecc_scalar>
typealias Random = @convention(c) (UnsafeMutableRawPointer?, Int, Place?) -> Void

private let curve25519Public = library("nettle_curve25519_mul_g", as: (@convention(c) (Place, Bytes) -> Void).self)
private let curve25519Shared = library("nettle_curve25519_mul", as: (@convention(c) (Place, Bytes, Bytes) -> Void).self)
private let p256Public = library("nettle_ecc_point_mul_g", as: (@convention(c) (UnsafeMutablePointer<ecc_point>, Scalar) -> Void).self)
private let p256Shared = library(
    "nettle_ecc_point_mul", as: (@convention(c) (UnsafeMutablePointer<ecc_point>, Scalar, UnsafePointer<ecc_point>) -> Void).self)
private let ed25519Sign = library("nettle_ed25519_sha512_sign", as: (@convention(c) (Bytes, Bytes, Int, Bytes, Place) -> Void).self)
private let ed25519Verify = library("nettle_ed25519_sha512_verify", as: (@convention(c) (Bytes, Int, Bytes, Bytes) -> CInt).self)
private let ecdsaSign = library(
    "nettle_ecdsa_sign",
    as: (@convention(c) (Scalar, UnsafeMutableRawPointer?, Random, Int, Bytes, UnsafeMutablePointer<dsa_signature>) -> Void).self)
private let ecdsaVerify = library(
    "nettle_ecdsa_verify",
    as: (@convention(c) (UnsafePointer<ecc_point>, Int, Bytes, UnsafePointer<dsa_signature>) -> CInt).self)

// MARK: In their place

private func copy(_ start: Bytes, _ count: Int) -> [UInt8] { Array(UnsafeBufferPointer(start: start, count: count)) }

private func put(_ bytes: [UInt8], _ place: Place) { for (index, byte) in bytes.enumerated() { place[index] = byte } }

/// The limbs of a scalar, or the coordinates of a point, of P-256.
private func numbers(_ limbs: UnsafePointer<mp_limb_t>, coordinates: Int) -> [UInt8] {
    Array(UnsafeRawBufferPointer(start: limbs, count: coordinates * 32))
}

private func put(_ bytes: [UInt8], _ point: UnsafeMutablePointer<ecc_point>) {
    UnsafeMutableRawBufferPointer(start: point.pointee.p, count: 64).copyBytes(from: bytes)
}

@_cdecl("nettle_curve25519_mul_g")
func onceCurve25519Public(_ result: Place, _ scalar: Bytes) {
    let answer = once(.curve25519Public, [copy(scalar, 32)]) {
        curve25519Public(result, scalar)
        return copy(result, 32)
    }
    put(answer, result)
}

@_cdecl("nettle_curve25519_mul")
func onceCurve25519Shared(_ result: Place, _ scalar: Bytes, _ point: Bytes) {
    let answer = once(.curve25519Shared, [copy(scalar, 32), copy(point, 32)]) {
        curve25519Shared(result, scalar, point)
        return copy(result, 32)
    }
    put(answer, result)
}

@_cdecl("nettle_ecc_point_mul_g")
func onceP256Public(_ result: UnsafeMutablePointer<ecc_point>, _ scalar: Scalar) {
    let answer = once(.p256Public, [numbers(scalar.pointee.p, coordinates: 1)]) {
        p256Public(result, scalar)
        return numbers(result.pointee.p, coordinates: 2)
    }
    put(answer, result)
}

@_cdecl("nettle_ecc_point_mul")
func onceP256Shared(_ result: UnsafeMutablePointer<ecc_point>, _ scalar: Scalar, _ point: UnsafePointer<ecc_point>) {
    let answer = once(.p256Shared, [numbers(scalar.pointee.p, coordinates: 1), numbers(point.pointee.p, coordinates: 2)]) {
        p256Shared(result, scalar, point)
        return numbers(result.pointee.p, coordinates: 2)
    }
    put(answer, result)
}

@_cdecl("nettle_ed25519_sha512_sign")
func onceEd25519Sign(_ publicKey: Bytes, _ seed: Bytes, _ count: Int, _ data: Bytes, _ signature: Place) {
    let answer = once(.ed25519Sign, [copy(publicKey, 32), copy(seed, 32), copy(data, count)]) {
        ed25519Sign(publicKey, seed, count, data, signature)
        return copy(signature, 64)
    }
    put(answer, signature)
}

@_cdecl("nettle_ed25519_sha512_verify")
func onceEd25519Verify(_ publicKey: Bytes, _ count: Int, _ data: Bytes, _ signature: Bytes) -> CInt {
    let answer = once(.ed25519Verify, [copy(publicKey, 32), copy(data, count), copy(signature, 64)]) {
        [ed25519Verify(publicKey, count, data, signature) == 1 ? 1 : 0]
    }
    return answer == [1] ? 1 : 0
}

@_cdecl("nettle_ecdsa_sign")
func onceECDSASign(
    _ scalar: Scalar, _ context: UnsafeMutableRawPointer?, _ random: Random, _ count: Int, _ digest: Bytes,
    _ signature: UnsafeMutablePointer<dsa_signature>
) {
    let answer = once(.ecdsaSign, [numbers(scalar.pointee.p, coordinates: 1), copy(digest, count)]) {
        ecdsaSign(scalar, context, random, count, digest, signature)
        let r = BigNumber.bytes(&signature.pointee.r)
        return [UInt8(r.count)] + r + BigNumber.bytes(&signature.pointee.s)
    }
    let middle = 1 + Int(answer[0])
    __gmpz_import(&signature.pointee.r, middle - 1, 1, 1, 1, 0, Array(answer[1..<middle]))
    __gmpz_import(&signature.pointee.s, answer.count - middle, 1, 1, 1, 0, Array(answer[middle...]))
}

@_cdecl("nettle_ecdsa_verify")
func onceECDSAVerify(
    _ point: UnsafePointer<ecc_point>, _ count: Int, _ digest: Bytes, _ signature: UnsafePointer<dsa_signature>
) -> CInt {
    var (r, s) = (signature.pointee.r, signature.pointee.s)
    let question = [numbers(point.pointee.p, coordinates: 2), copy(digest, count), BigNumber.bytes(&r), BigNumber.bytes(&s)]
    let answer = once(.ecdsaVerify, question) { [ecdsaVerify(point, count, digest, signature) == 1 ? 1 : 0] }
    return answer == [1] ? 1 : 0
}
