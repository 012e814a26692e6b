/// Lines of a .vmx file.
public enum VMXLine {
    /// The line that sets a variable: of its value `"`, `#`, `|` and control characters are written as `|` and two hexadecimal digits.
    public static func text(_ key: String, _ value: [UInt8]) -> String {
        var text: [UInt8] = []
        for byte in value {
            if byte < 0x20 || byte == 0x7F || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "#") || byte == UInt8(ascii: "|") {
                let digits = String(byte, radix: 16, uppercase: true)
                text.append(contentsOf: ((digits.utf8.count == 1 ? "|0" : "|") + digits).utf8)
            } else {
                text.append(byte)
            }
        }
        return "\(key) = \"\(String(decoding: text, as: UTF8.self))\""
    }
}
