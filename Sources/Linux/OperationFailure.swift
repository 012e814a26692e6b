/// A failure as every module tells it: what was done, to what, and why it failed.
public protocol OperationFailure: Error, CustomStringConvertible {
    /// What was being done, by the name of the call where it is one.
    var operation: String { get }
    /// What it was done to. Empty where there is nothing to name.
    var object: String { get }
    var cause: String { get }
}

extension OperationFailure {
    /// For example "open /dev/ttyS2: No such device or address".
    public var description: String { object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)" }
}
