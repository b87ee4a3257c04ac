{{/* How an endpoint of either monitor is scraped: (dict "context" $ "monitor" .Values.serviceMonitor). */}}
{{- define "signalbox.monitors.endpoint" -}}
port: metrics
path: /metrics
interval: {{ .monitor.interval }}
scrapeTimeout: {{ .monitor.scrapeTimeout }}
honorLabels: false
relabelings:
  # Whichever monitor it is: KEDA's question names this job.
  - targetLabel: job
    replacement: {{ include "signalbox.fullname" .context }}
  {{- with .context.Values.environment }}
  - targetLabel: environment
    replacement: {{ . | quote }}
  {{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
