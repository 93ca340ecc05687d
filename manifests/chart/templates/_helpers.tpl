{{- define "monlat.namespace" -}}
{{ .Values.namespace.name | default .Release.Namespace }}
{{- end }}

{{- define "monlat.selector" -}}
app.kubernetes.io/name: monlat
app.kubernetes.io/instance: {{ .Values.network }}
app.kubernetes.io/component: agent
{{- end }}

{{- define "monlat.collectorSelector" -}}
app.kubernetes.io/name: monlat
app.kubernetes.io/instance: {{ .Values.network }}
app.kubernetes.io/component: collector
{{- end }}

{{- define "monlat.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "monlat.priorityClass" -}}
{{ .Values.priorityClass.name | default (eq .Values.network "pod-network" | ternary "monlat-pod-network" "monlat") }}
{{- end }}

{{- /* What changes with the size of the cluster. docs/sizing.md derives the numbers. */ -}}
{{- define "monlat.size" -}}
{{- if le (int .Values.nodes) 100 -}}
maxUnavailable: 1
resources:
  requests: {cpu: 20m, memory: 80Mi}
  limits: {memory: 256Mi}
{{- else if le (int .Values.nodes) 1000 -}}
maxUnavailable: 10
resources:
  requests: {cpu: 80m, memory: 112Mi}
  limits: {memory: 256Mi}
{{- else -}}
maxUnavailable: 50
maxPeers: "5000"
resources:
  requests: {cpu: 380m, memory: 208Mi}
  limits: {memory: 416Mi}
{{- end -}}
{{- end }}

{{- /* Where an agent may run, and so the test's pod. */ -}}
{{- define "monlat.scheduling" -}}
nodeSelector:
  kubernetes.io/os: linux
  {{- if .Values.selectedNodes }}
  monlat/agent: "true"
  {{- end }}
  {{- with .Values.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* "true" where the agents speak HTTPS, else empty. */ -}}
{{- define "monlat.hasTls" -}}
{{- if and .Values.webConfig.enabled .Values.webConfig.tls.enabled }}true{{ end -}}
{{- end }}

{{- define "monlat.webEnv" -}}
- {name: MONLAT_WEB_CONFIG, value: /etc/monlat/web/web-config.yml}
{{- if .Values.webConfig.tls.enabled }}
- {name: MONLAT_URL, value: "https://localhost:10045"}
- {name: MONLAT_CA, value: /etc/monlat/web/ca.crt}
{{- end }}
{{- end }}

{{- define "monlat.annotations" -}}
{{- if and .Values.scrapeAnnotations (not .Values.podMonitor.enabled) }}
prometheus.io/scrape: "true"
prometheus.io/port: "10045"
prometheus.io/path: /metrics
{{- end }}
{{- if include "monlat.hasTls" . }}
prometheus.io/scheme: https
{{- end }}
{{- end }}
