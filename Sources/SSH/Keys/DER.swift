import CHogweed

/// One level of a value in DER (X.690), read by nettle.
struct DERElements {
    /// The contents of the elements that follow one another, with their tags: `asn1_type`, or those that PKCS#8 and SEC 1 have besides.
    private var elements: [(tag: UInt32, content: [UInt8])] = []
    private var next = 0

    /// - Returns: nil for what is no DER, or has more than 16 elements.
    init?(_ bytes: [UInt8]) {
        var elements: [(tag: UInt32, content: [UInt8])] = []
        let isWellFormed = bytes.withUnsafeBufferPointer { buffer -> Bool in
            var iterator = asn1_der_iterator()
            var result = nettle_asn1_der_iterator_first(&iterator, buffer.count, buffer.baseAddress)
            while result == ASN1_ITERATOR_PRIMITIVE || result == ASN1_ITERATOR_CONSTRUCTED {
                guard elements.count < 16 else { return false }
                elements.append((iterator.type.rawValue, Array(UnsafeBufferPointer(start: iterator.data, count: iterator.length))))
                result = nettle_asn1_der_iterator_next(&iterator)
            }
            return result == ASN1_ITERATOR_END
        }
        guard isWellFormed else { return nil }
        self.elements = elements
    }

    /// The content of the next element, if it has this tag.
    mutating func take(_ tag: asn1_type) -> [UInt8]? { take(tag: tag.rawValue) }

    /// The content of the next element, if it is the constructed one `[number]` of its context.
    mutating func takeContext(_ number: UInt32) -> [UInt8]? {
        take(tag: UInt32(ASN1_CLASS_CONTEXT_SPECIFIC) | UInt32(ASN1_TYPE_CONSTRUCTED) | number)
    }

    private mutating func take(tag: UInt32) -> [UInt8]? {
        guard next < elements.count, elements[next].tag == tag else { return nil }
        defer { next += 1 }
        return elements[next].content
    }
}

/// A sequence that is the whole of `bytes`.
func derSequence(_ bytes: [UInt8]) -> DERElements? {
    guard var outer = DERElements(bytes), let content = outer.take(ASN1_SEQUENCE) else { return nil }
    return DERElements(content)
}
