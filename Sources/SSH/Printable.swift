/// A text of the peer's, fit to be shown: at most `limit` bytes of it, without control characters, which a terminal would obey.
public func printable(_ text: [UInt8], limit: Int) -> String {
    let shown = String(decoding: text.prefix(limit), as: UTF8.self)
    var result = String.UnicodeScalarView()
    for scalar in shown.unicodeScalars { result.append(scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) ? " " : scalar) }
    return String(result)
}
