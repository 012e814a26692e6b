import CNettle

/// RFC 4648, as keys are written in text.
enum Base64 {
    static func encode(_ bytes: [UInt8], padding: Bool = true) -> String {
        var result = [CChar](repeating: 0, count: (bytes.count + 2) / 3 * 4)
        nettle_base64_encode_raw(&result, bytes.count, bytes)
        return String(decoding: result.lazy.map { UInt8(bitPattern: $0) }.filter { padding || $0 != UInt8(ascii: "=") }, as: UTF8.self)
    }

    /// - Returns: nil for what is no base64. White space is skipped.
    static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var context = base64_decode_ctx()
        nettle_base64_decode_init(&context)
        let characters = text.map { CChar(bitPattern: $0) }
        var result = [UInt8](repeating: 0, count: characters.count / 4 * 3 + 3)
        var length = result.count
        guard nettle_base64_decode_update(&context, &length, &result, characters.count, characters) == 1,
            nettle_base64_decode_final(&context) == 1, length <= result.count
        else {
            result.wipe()
            return nil
        }
        defer { result.wipe() }
        return Array(result[..<length])
    }
}
