//! Kafka's jars: broker, clients of every kind and command line tools.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::tool::{JAVA, MAVEN};
use crate::KafkaVersion;

/// Of the examples nothing but their own classes: they were first published with 4.x, and run with older Streams, too.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>topicops</groupId>
  <artifactId>testbed</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>KAFKA</version>
      <exclusions><exclusion><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>KAFKA</version>
      <exclusions><exclusion><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId><version>KAFKA</version>
      <exclusions><exclusion><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-file</artifactId><version>KAFKA</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-streams</artifactId><version>KAFKA</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-streams-examples</artifactId><version>4.3.1</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;

/// The number behind the version tells apart what this file has had put into the folder.
pub(super) fn folder(version: KafkaVersion) -> String {
    format!("kafka-{}-2", version.number())
}

pub(super) fn build(folder: &Path, version: KafkaVersion) -> Result<()> {
    JAVA.must_exist("-version")?;
    let scratch = tempfile::tempdir()?;
    fs::write(scratch.path().join("pom.xml"), POM.replace("KAFKA", version.number()))?;
    let libs = folder.join("libs");
    let output = format!("-DoutputDirectory={}", libs.display());
    let args = ["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", &output];
    MAVEN.run(scratch.path(), args, &[])?;
    let broker = libs.join(format!("kafka_2.13-{}.jar", version.number()));
    ensure!(broker.is_file(), "Maven finished without bringing {}", broker.display());
    fs::read_dir(&libs).map(drop).context("reading Kafka's jars")
}
