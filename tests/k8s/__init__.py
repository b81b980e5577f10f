"""The manifests of k8s/, without a cluster."""
