extension String {
    /// Text of a guest's, fit for a terminal: what would command one is a dot.
    public var printable: String {
        var result = String.UnicodeScalarView()
        for scalar in unicodeScalars { result.append(scalar.commandsTerminals ? "·" : scalar) }
        return String(result)
    }

    /// A JSON document of a guest's, with what would command a terminal escaped, as JSON has it.
    public var printableJSON: String {
        var result = ""
        for scalar in unicodeScalars {
            if scalar == "\n" || scalar == "\t" || !scalar.commandsTerminals {
                result.unicodeScalars.append(scalar)
            } else {
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return result
    }
}

extension Unicode.Scalar {
    /// Control characters, and those that change the direction of text or cannot be seen.
    fileprivate var commandsTerminals: Bool {
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }
}
