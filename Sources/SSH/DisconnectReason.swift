/// Reads the end that the peer made of the connection.
enum DisconnectReason {
    /// - Returns: nil for the end that an application wants, or its user.
    static func error(_ reason: UInt32, _ text: String) -> SSHError? {
        let known = SSHError.Reason(rawValue: reason)
        if known == .byApplication || known == .cancelledByUser { return nil }
        let shown = printable(Array(text.utf8), limit: ConnectionLimits.maximumText)
        return SSHError(known ?? .connectionLost, "disconnect", "by the peer", shown.isEmpty ? "it gave reason \(reason)" : shown)
    }
}

extension Int64 {
    func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflows) = addingReportingOverflow(other)
        return overflows ? .max : sum
    }

    func multipliedClamped(by factor: Int64) -> Int64 {
        let (product, overflows) = multipliedReportingOverflow(by: factor)
        return overflows ? .max : product
    }
}
