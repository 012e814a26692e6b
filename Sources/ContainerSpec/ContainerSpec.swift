// ContainerSpec
