import CNettle

/// Base64 as RFC 4648 has it in section 4, by nettle.
public enum Base64 {
    /// - Parameter padding: whether the text ends with `=` where its length asks for it.
    public static func encode(_ bytes: [UInt8], padding: Bool = true) -> String {
        var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4)
        text.withUnsafeMutableBytes { target in
            bytes.withUnsafeBufferPointer { source in
                nettle_base64_encode_raw(target.baseAddress?.assumingMemoryBound(to: CChar.self), source.count, source.baseAddress)
            }
        }
        if !padding { while text.last == UInt8(ascii: "=") { text.removeLast() } }
        return String(decoding: text, as: UTF8.self)
    }

    /// Decodes text with its padding. White space anywhere is skipped, as by nettle.
    /// - Returns: nil for what is no base64.
    public static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        let text = Array(text)
        var context = base64_decode_ctx()
        nettle_base64_decode_init(&context)
        // BASE64_DECODE_LENGTH of nettle: six bits a character, and those that may wait in the context.
        var result = [UInt8](repeating: 0, count: (text.count / 4 + 1) * 3)
        var length = result.count
        let isValid = text.withUnsafeBytes { source in
            result.withUnsafeMutableBufferPointer { target in
                nettle_base64_decode_update(
                    &context, &length, target.baseAddress, source.count, source.baseAddress?.assumingMemoryBound(to: CChar.self))
            }
        }
        guard isValid == 1, nettle_base64_decode_final(&context) == 1, length <= result.count else { return nil }
        result.removeLast(result.count - length)
        return result
    }
}
