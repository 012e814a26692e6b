// Feeds the readers of SSH whatever libFuzzer makes up, and holds them to what they promise. A promise broken is a trap, which
// libFuzzer reports with the input that caused it. No keys are exchanged here, so that a run takes microseconds: both ends are given
// the same keys, as a key exchange would (FuzzSSHHandshake has that).
@testable import SSH

/// The first byte chooses who reads the rest.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let (target, option) = (start[0] % 12, start[1])
    let input = Array(UnsafeBufferPointer(start: start + 2, count: count - 2))
    switch target {
    case 0: checkStream(.server, input, chunk: Int(option) + 1)
    case 1: checkStream(.client, input, chunk: Int(option) + 1)
    case 2: checkMessages(.server, option, input)
    case 3: checkMessages(.client, option, input)
    case 4: checkPackets(option, input)
    case 5: checkInit(input)
    case 6: checkPublicKey(input)
    case 7: checkPrivateKey(option, input)
    case 8: checkKeyText(String(decoding: input, as: UTF8.self))
    case 9: checkCompression(option, input)
    case 10: checkFields(input)
    default: checkBase64(input)
    }
    return 0
}
