import ContainerSpec
import Testing

func ipAddress(_ text: String) throws -> IPAddress {
    let address = IPAddress(text)
    return try #require(address, "\(text) is no address")
}

func ipPrefix(_ text: String) throws -> IPPrefix {
    let prefix = IPPrefix(text)
    return try #require(prefix, "\(text) is no prefix")
}
