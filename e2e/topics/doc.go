// Package topics holds tests only: a node that delivers a topic of a real Kafka
// (MSKAsSource, from a CloudFormation file) is killed again and again, and a broker
// with it, while others produce. With the flag -kafka.
package topics
