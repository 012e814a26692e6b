/// Where random bytes come from: getrandom(2) in programs, something repeatable in tests.
public struct RandomSource {
    private let generate: (Int) -> [UInt8]

    /// - Parameter generate: gives as many random bytes as it is asked for.
    public init(_ generate: @escaping (Int) -> [UInt8]) { self.generate = generate }

    public func bytes(_ count: Int) -> [UInt8] { generate(count) }
}
